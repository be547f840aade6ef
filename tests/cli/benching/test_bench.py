"""`kellgren bench`: what it shows, what it keeps, and what `grade` makes of that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import EXAMPLES, kellgren
from kellgren.cli.benching import bench
from kellgren.cli.benching.engine_options import engine_of
from kellgren.engine_choice import measuring
from kellgren.engine_choice.engine_candidates import EngineChoice
from kellgren.engine_choice.measuring import Measured
from kellgren.engine_choice.remembered import remember, remembered
from kellgren.grading.bundle import fast_bundle, open_bundle

KNEE = EXAMPLES / "9177337L.png"
OPENVINO = EngineChoice(engine="openvino", workers=1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered from elsewhere, and no engine is named."""
    monkeypatch.setenv("KELLGREN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KELLGREN_ENGINE", raising=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of two knees."""
    folder = tmp_path / "study"
    folder.mkdir()
    for name in ("9177337L.png", "9177337R.png"):
        shutil.copyfile(EXAMPLES / name, folder / name)
    return folder


def keep_openvino(bundle: Path) -> None:
    measured = Measured(OPENVINO, 0.5, 0.04, 0.1, 10, 1.0, 0.004)
    reference = Measured(EngineChoice(workers=2), 0.5, 0.08, 0.1, 10, 1.0, 0.0)
    remember(open_bundle(bundle).checksum, measured, reference)


def test_it_measures_shows_writes_and_remembers(
    bundle: Path, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "bench.json"
    words = ("--images", study, "--workers", "1", "--passes", "1", "--json", written)
    assert kellgren("bench", "--model", bundle, *words, "--remember") == 0
    said = capsys.readouterr()
    content = json.loads(written.read_text())
    assert content["knees"] == 2
    assert content["bundle"]["checksum"] == open_bundle(bundle).checksum
    first = content["measured"][0]
    assert (first["engine"], first["precision"], first["largest_shift"]) == (
        "onnxruntime",
        "fp32",
        0,
    )
    for one in content["measured"]:
        assert f"{one['engine']} {one['precision']}" in said.out
    assert "fastest of 2 knees: " in said.out
    known = remembered(bundle)
    assert known is not None
    assert known.choice.model_dump() == content["fastest"]
    assert content["remembered"]
    assert f"remembered for {open_bundle(bundle).card.name}" in said.err

    assert kellgren("bench", "--model", bundle, "--forget") == 0
    assert remembered(bundle) is None


def test_the_examples_are_graded_where_no_folder_is_named_and_json_stands_alone(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--workers", "2", "--passes", "1", "--json", "-")
    assert kellgren("bench", "--model", bundle, *words) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["knees"] == len(list(EXAMPLES.glob("*.png")))
    assert not content["remembered"]
    assert remembered(bundle) is None


def test_of_an_archive_no_more_films_are_graded_than_tell_which_is_fastest(
    bundle: Path, study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "MOST_FILMS", 1)
    words = ("--images", study, "--workers", "1", "--passes", "1", "--json", "-")
    assert kellgren("bench", "--model", bundle, *words) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["knees"] == 1
    assert f"the first 1 films of {study} are graded" in said.err


def test_the_small_bundle_is_measured_as_grade_uses_it(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "measure_each", without_joint_space(measuring.measure_each))
    words = ("--images", study, "--workers", "1", "--passes", "1", "--json", "-")
    assert kellgren("bench", "--fast", *words) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["bundle"]["checksum"] == open_bundle(fast_bundle()).checksum
    assert kellgren("bench", "--fast", "--model", fast_bundle()) == 2


def without_joint_space(measure: Callable[..., list[Measured]]) -> Callable[..., list[Measured]]:
    def measured(*given: Any, joint_space: bool, **named: Any) -> list[Measured]:
        assert not joint_space
        return measure(*given, joint_space=joint_space, **named)

    return measured


def test_wrong_usage_and_nothing_to_grade(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren("bench", "--model", bundle, "--remember", "--forget") == 2
    assert kellgren("bench", "--model", tmp_path / "none") == 3
    (tmp_path / "empty").mkdir()
    assert kellgren("bench", "--model", bundle, "--images", tmp_path / "empty") == 4
    assert "No PNG, JPEG, TIFF or DICOM files found" in capsys.readouterr().err


def test_grade_uses_what_is_remembered_and_says_so(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    keep_openvino(bundle)
    written = tmp_path / "grades.json"
    assert kellgren("grade", KNEE, "--model", bundle, "--json", written) == 0
    said = capsys.readouterr().err
    assert (
        "engine remembered by kellgren bench: openvino fp32, 1 worker: 0.50 of the time of "
        "onnxruntime fp32\n" in said
    )
    assert json.loads(written.read_text())["model"]["engine"] == "openvino"


@pytest.mark.parametrize(
    "words", [("--engine", "onnxruntime"), ("--precision", "fp32"), ("--device", "cpu")]
)
def test_an_option_wins(
    words: tuple[str, str], bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_openvino(bundle)
    written = tmp_path / "grades.json"
    assert kellgren("grade", KNEE, "--model", bundle, "--json", written, *words) == 0
    assert "remembered" not in capsys.readouterr().err
    assert json.loads(written.read_text())["model"]["engine"] == "onnxruntime"


def test_the_environment_wins_too_and_workers_go_with_it(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_openvino(bundle)
    assert engine_of(bundle, None, None, None, 0) == OPENVINO
    assert engine_of(bundle, None, None, None, 5) == OPENVINO.model_copy(update={"workers": 5})
    assert engine_of(bundle, "openvino", "bf16", None, 5) == EngineChoice(
        engine="openvino", precision="bf16", workers=5
    )
    capsys.readouterr()
    monkeypatch.setenv("KELLGREN_ENGINE", "onnxruntime")
    assert kellgren("grade", KNEE, "--model", bundle) == 0
    assert "remembered" not in capsys.readouterr().err


def test_doctor_shows_it(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep_openvino(bundle)
    assert kellgren("doctor", "--model", bundle) == 0
    assert "openvino fp32, 1 worker: 0.50 of the time" in " ".join(capsys.readouterr().out.split())


def test_one_of_another_machine_is_shown_as_not_used(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kellgren.engine_choice import remembered as memory

    keep_openvino(bundle)
    monkeypatch.setattr(memory, "processor_name", lambda: "Another CPU")
    assert kellgren("grade", KNEE, "--model", bundle) == 0
    said = capsys.readouterr().err
    assert "remembered" not in said
    assert "another processor, and is not used: measure again" in said
    assert kellgren("doctor", "--model", bundle) == 0
    assert "another processor, and not used" in " ".join(capsys.readouterr().out.split())
