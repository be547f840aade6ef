"""The script for a borrowed machine, rehearsed: in by loads, trained in parts, out by pieces."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from command_line import PATIENCE, ROOT, environment, kellgren
from kellgren.architectures import find
from kellgren.manifest import Knee, write_manifest
from kellgren.training.campaign import all_jobs, finished_jobs
from tiny_training import copied_knees

SCRIPT = ROOT / "scripts" / "borrowed_gpu.py"
LOAD_MB, PIECE_MB = 9.0, 4.0
NETWORK = "shufflenet_v2_x2_0"
CAMPAIGN = 'name = "rehearsal"\nfolds = { count = 3 }\n[[members]]\nrecipe = "small.toml"\n'
RECIPE = f"""
name = "small"
batch = 4
precision = "fp32"
stages = [{{ epochs = 1, size = 32 }}]
network = {{ architecture = "{NETWORK}" }}
schedule = {{ name = "one-cycle", peak_rate = 1e-3 }}
targets = {{ kind = "ordinal" }}
augmentation = {{ mirror = 0.5 }}
"""
LIBRARY = "import sys\nprint('library brought along', file=sys.stderr)\n"


def call(
    script: Path, *words: Path | str, bring: bool = True, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the script; without ``bring``, where this package is not to be had."""
    path = {"PYTHONPATH": str(ROOT / "src")} if bring else {"PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, str(script), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(OMP_NUM_THREADS="1", **path),
        cwd=script.parent,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What lies here: knees, weights, a campaign, and a library that the machine lacks."""
    folder = tmp_path / "home"
    knees: list[Knee] = copied_knees(folder / "knees")
    write_manifest(knees, folder / "knees.csv")
    (folder / "small.toml").write_text(RECIPE)
    (folder / "rehearsal.toml").write_text(CAMPAIGN)
    network = find(NETWORK).build(5)
    (folder / "weights").mkdir()
    tensors = {**network.stem.state_dict(), **network.body.state_dict()}
    save_file(
        {key: value.contiguous().to(torch.float32) for key, value in tensors.items()},
        folder / "weights" / f"{NETWORK}.safetensors",
    )
    (folder / "wheels").mkdir()
    with zipfile.ZipFile(folder / "wheels" / "sitecustomize-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("sitecustomize.py", LIBRARY)
    return folder


def loads(home: Path, out: Path, *more: Path | str) -> list[Path]:
    call(
        *(SCRIPT, "prepare", home / "rehearsal.toml", "--data", home / "knees.csv"),
        *("--weights-dir", home / "weights", "--wheels", home / "wheels", "-o", out),
        *("--load-mb", LOAD_MB, "--piece-mb", PIECE_MB, *more),
    )
    found = sorted(out.iterdir())
    for load in found:
        assert sum(path.stat().st_size for path in load.iterdir()) <= LOAD_MB * 1e6
    return found


def received(loads: list[Path], work: Path) -> Path:
    """Every load goes through the door by itself; the script there."""
    for number, load in enumerate(reversed(loads)):
        said = call(load / SCRIPT.name, "receive", load, "--work", work, bring=False).stdout
        assert ("all is here" in said) == (number == len(loads) - 1)
    return work / "received" / SCRIPT.name


def trained(script: Path, results: Path, minutes: float) -> str:
    """One visit to the machine: its results, and what was said."""
    work = script.parents[1]
    done = call(
        *(script, "train", "--work", work, "--results", results, "--max-minutes", minutes),
        *("--piece-mb", PIECE_MB, "--pieces-most", 4),
        bring=False,
    )
    files = list(results.iterdir())
    assert len(files) <= 4
    assert all(path.stat().st_size <= PIECE_MB * 1e6 for path in files)
    return done.stdout + done.stderr


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.suffix not in (".safetensors", ".png"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def test_a_campaign_is_trained_on_borrowed_machines_and_nothing_is_lost(
    home: Path, tmp_path: Path
) -> None:
    ours, first, second = (tmp_path / name for name in ("campaign", "first", "second"))
    parts = loads(home, tmp_path / "loads")
    assert len(parts) > 2
    script = received(parts, first)

    said = trained(script, tmp_path / "results-1", 0)  # time for one job
    assert "library brought along" in said
    assert "1 jobs whole" in said
    said = trained(script, tmp_path / "results-2", 0)
    assert "2 jobs whole" in said
    names = [path.name for path in (tmp_path / "results-2").iterdir()]
    assert kellgren("train", "merge", tmp_path / "results-1", "--out", ours) == 0
    assert len(finished_jobs(ours)) == 1
    assert kellgren("train", "merge", tmp_path / "results-2", "--out", ours) == 0
    assert content(ours / "jobs") == content(first / "campaign" / "jobs")
    assert not {path.name for path in (tmp_path / "results-1").iterdir()} & set(names)

    other = loads(home, tmp_path / "other-loads", "--finished", ours)
    said = trained(received(other, second), tmp_path / "results-3", 5)
    assert "1 jobs whole" in said  # the third: the others were not done twice
    assert kellgren("train", "merge", tmp_path / "results-3", "--out", ours) == 0
    assert [job.name for job in finished_jobs(ours)] == [job.name for job in all_jobs(ours)]
    assert content(ours / "jobs") == {
        **content(first / "campaign" / "jobs"),
        **content(second / "campaign" / "jobs"),
    }


def test_what_did_not_arrive_is_named(home: Path, tmp_path: Path) -> None:
    parts = loads(home, tmp_path / "loads")
    work = tmp_path / "work"
    script = parts[0] / SCRIPT.name
    words = ("train", "--work", work, "--results", tmp_path / "r", "--max-minutes", 1)
    assert "receive the first load" in call(script, *words, code=2).stderr
    call(script, "receive", *parts, "--work", work)
    lost, damaged = sorted((work / "received").glob("weights-*.part"))[:2]
    lost.unlink()
    damaged.write_bytes(b"damaged")
    said = call(script, *words, code=2).stderr
    assert f"missing or damaged: {lost.name}, {damaged.name}" in said
    assert not (work / "campaign").exists()
