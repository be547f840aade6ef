"""The script for a borrowed machine, rehearsed: in by loads, out by pieces, the rest later."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from command_line import PATIENCE, ROOT, environment, kellgren
from kellgren.archives import read_contents
from kellgren.data.manifest import Knee, write_manifest
from kellgren.training.architectures import find
from kellgren.training.campaign import Campaign, all_jobs, finished_jobs
from kellgren.training.campaign.plan import open_campaign
from kellgren.training.runners.runner import run_campaign
from tiny_training import ONE_CYCLE, copied_knees, tiny_recipe

SCRIPT = ROOT / "scripts" / "borrowed_gpu.py"
LOAD_MB, PIECE_MB = 9.0, 4.0
NETWORK = "shufflenet_v2_x2_0"
CAMPAIGN = 'name = "rehearsal"\nfolds = { count = 2 }\n[[members]]\nrecipe = "small.toml"\n'
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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies here: knees, weights, a campaign, and a library that the machine lacks."""
    folder = tmp_path_factory.mktemp("home")
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


@pytest.fixture(scope="module")
def parts(home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The loads, made once; no test changes them."""
    out = tmp_path_factory.mktemp("prepared") / "loads"
    call(
        *(SCRIPT, "prepare", home / "rehearsal.toml", "--data", home / "knees.csv"),
        *("--weights", *(home / "weights").iterdir(), "--wheels", *(home / "wheels").iterdir()),
        *("-o", out),
        *("--load-mb", LOAD_MB, "--piece-mb", PIECE_MB),
    )
    actual = sorted(out.iterdir())
    for load in actual:
        assert sum(path.stat().st_size for path in load.iterdir()) <= LOAD_MB * 1e6
    return actual


def received(loads: list[Path], work: Path) -> Path:
    """Every load goes through the door by itself; the script there."""
    for load in reversed(loads):
        output = call(load / SCRIPT.name, "receive", load, "--work", work, bring=False).stdout
        assert ("all is here" in output) == (load == loads[0])
    return work / "received" / SCRIPT.name


def trained(script: Path, results: Path, minutes: float, pieces: int = 5) -> str:
    """One visit to the machine: its results, and what was printed."""
    work = script.parents[1]
    done = call(
        *(script, "train", "--work", work, "--results", results, "--max-minutes", minutes),
        *("--piece-mb", PIECE_MB, "--pieces-most", pieces),
        *("--grace-minutes", 5),
        bring=False,
    )
    files = list(results.iterdir())
    assert len(files) <= pieces
    assert all(path.stat().st_size <= PIECE_MB * 1e6 for path in files)
    return done.stdout + done.stderr


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.suffix not in (".safetensors", ".png"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def test_a_campaign_is_trained_on_a_borrowed_machine_and_nothing_is_lost(
    parts: list[Path], tmp_path: Path
) -> None:
    ours, there = tmp_path / "campaign", tmp_path / "there"
    assert len(parts) > 2
    script = received(parts, there)

    output = trained(script, tmp_path / "results-1", 0.001)  # a visit that is cut off
    assert "library brought along" in output
    assert "paused: the time is up" in output
    assert "1 jobs whole" in output
    (first,), (_, second) = finished_jobs(there / "campaign"), all_jobs(there / "campaign")
    assert kellgren("train", "merge", tmp_path / "results-1", "--out", ours) == 0
    assert [job.name for job in finished_jobs(ours)] == [first.name]
    before = content(first.run)

    output = trained(script, tmp_path / "results-2", 5, pieces=2)
    assert len(finished_jobs(there / "campaign")) == 2
    assert content(first.run) == before  # not trained again
    assert f"without its member (ONNX): {second.name}" in output  # the door is too narrow for it
    assert kellgren("train", "merge", tmp_path / "results-2", "--out", ours) == 0
    assert len(finished_jobs(ours)) == 1
    assert (ours / "incomplete" / second.name / "oof.csv").exists()

    output = trained(script, tmp_path / "results-3", 0)
    assert "2 jobs whole" in output
    brought = [read_contents(next((tmp_path / f"results-{n}").glob("*.json"))) for n in (1, 3)]
    members = [{file.name for file in one.packed if file.name.endswith(".onnx")} for one in brought]
    assert [len(names) for names in members] == [1, 1]
    assert not members[0] & members[1]
    assert kellgren("train", "merge", tmp_path / "results-3", "--out", ours) == 0
    assert [job.name for job in finished_jobs(ours)] == [job.name for job in all_jobs(ours)]
    assert content(ours / "jobs") == content(there / "campaign" / "jobs")


def test_what_is_sent_says_its_version(parts: list[Path]) -> None:
    """A run's facts name it, and on the other machine the package is not installed."""
    with zipfile.ZipFile(parts[0] / "source.zip") as source:
        found = [name for name in source.namelist() if name.endswith(".dist-info/METADATA")]
        assert f"Version: {version('kellgren')}" in source.read(found[0]).decode()


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for NVIDIA's program")
def test_runners_share_a_gpu_by_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started before the training, where its environment finds it, and told to quit after."""
    control = tmp_path / "nvidia-cuda-mps-control"
    control.write_text(
        '#!/bin/sh\n[ "$1" = -d ] || read word\necho "$1$word" >> "$CUDA_MPS_PIPE_DIRECTORY/told"\n'
    )
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.syspath_prepend(SCRIPT.parent)
    share_gpu = importlib.import_module("borrowed_gpu")._share_gpu
    with ExitStack() as until:
        told = Path(share_gpu(tmp_path, until)["CUDA_MPS_PIPE_DIRECTORY"]) / "told"
        assert told.read_text() == "-d\n"
    assert told.read_text() == "-d\nquit\n"


def test_another_machine_leaves_finished_jobs_alone(
    small_world: None, knees: list[Knee], tmp_path: Path
) -> None:
    campaign = Campaign("tiny", 2, 0, (tiny_recipe(ONE_CYCLE, epochs=(1,)),))
    open_campaign(campaign, knees, tmp_path / "campaign")
    first, second = all_jobs(tmp_path / "campaign")
    with script_as_module()._finished_elsewhere(tmp_path, [first.name]):
        result = run_campaign(campaign, knees, tmp_path / "campaign")
    assert [job.name for job in result.finished] == [second.name]
    assert [job.name for job in result.elsewhere] == [first.name]


def script_as_module() -> Any:
    spec = importlib.util.spec_from_file_location("borrowed_gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_campaign_that_is_none_is_found_out_before_the_visit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["nope.toml", "--data", str(tmp_path), "-o", str(tmp_path / "loads")]
    script = script_as_module()
    assert script.prepare(script._parser().parse_args(["prepare", *words])) == 2
    assert "error: nope.toml: does not exist. Name a TOML file" in capsys.readouterr().err
    assert not (tmp_path / "loads").exists()


def test_what_did_not_arrive_is_named(parts: list[Path], tmp_path: Path) -> None:
    work = tmp_path / "work"
    script = parts[0] / SCRIPT.name
    words = ("train", "--work", work, "--results", tmp_path / "r", "--max-minutes", 1)
    assert "receive the first load" in call(script, *words, code=2).stderr
    call(script, "receive", *parts, "--work", work)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "earlier.txt").write_text("earlier results")
    assert "is not empty" in call(script, *words, code=2).stderr
    lost, damaged = sorted((work / "received").glob("weights-*.part"))[:2]
    lost.unlink()
    damaged.write_bytes(b"damaged")
    output = call(script, *words, code=2).stderr
    assert f"missing or damaged: {lost.name}, {damaged.name}" in output
    assert not (work / "campaign").exists()
