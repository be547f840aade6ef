"""`kellgren doctor`: what it says, that it finds what is broken, and that it names nobody."""

from __future__ import annotations

import getpass
import json
import shutil
from collections import namedtuple
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from bundle_factory import make_bundle
from command_line import kellgren
from kellgren.cli.exit_codes import ExitCode
from kellgren.diagnosis import machine, packages, parts
from kellgren.diagnosis.diagnose import diagnose
from kellgren.grading.engines import processor
from kellgren.imaging.dicom.stored_values import codecs
from kellgren.localisation import picture_gate

Usage = namedtuple("Usage", "total used free")


def test_one_screen_for_a_bug_report_that_names_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "surname"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KELLGREN_HOME", str(home / "films"))
    monkeypatch.chdir(home)
    written = tmp_path / "doctor.json"
    assert kellgren("doctor", "--json", written) == ExitCode.DONE
    said = capsys.readouterr().out
    assert len(said.splitlines()) <= 40
    for part in (
        version("onnxruntime"),
        "CPUExecutionProvider",
        "JPEG-LS",
        "checksums fit",
        "free",
    ):
        assert part in said
    assert said.rstrip().endswith("nothing is broken")
    for private in ("surname", str(tmp_path), str(Path(machine.__file__).parent)):
        assert private not in said + written.read_text()
    user = getpass.getuser()
    assert user == "root" or user not in said
    content = json.loads(written.read_text())
    assert content["broken"] == []
    assert {"section", "name", "words", "broken"} == content["facts"][0].keys()


def test_standard_output_is_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren("doctor", "--json", "-") == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["broken"] == []


def test_a_damaged_model_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_bundle(tmp_path / "surname" / "tiny").folder
    with (model / "member.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert kellgren("doctor", "--model", model) == ExitCode.SOME_FAILED
    said = capsys.readouterr().out
    assert "broken: member.onnx: is damaged: its checksum does not fit the card" in said
    assert "surname" not in said
    assert said.rstrip().endswith("1 broken")


def test_a_damaged_picture_gate_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gate"
    shutil.copytree(picture_gate.default_folder(), folder)
    with (folder / picture_gate.WEIGHTS).open("ab") as stream:
        stream.write(b"\0")
    monkeypatch.setattr(picture_gate, "default_folder", lambda: folder)
    (broken,) = [fact for fact in parts.model_facts(None) if fact.broken]
    assert broken.name == "picture gate"
    assert "checksum does not fit" in broken.words


def test_a_full_disk_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 0))
    broken = [fact.name for fact in diagnose() if fact.broken]
    assert broken == ["temporary folder", "films and spools"]


def test_a_missing_library_is_broken_and_a_missing_extra_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def installed(name: str) -> str:
        if name in ("pydicom", "openvino"):
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("kellgren.libraries.version", installed)
    facts = {fact.name: fact for fact in packages.package_facts()}
    assert facts["missing"].broken
    assert facts["missing"].words == "pydicom: install the package again"
    assert facts["fast"].words == "not installed (without openvino)"
    assert not facts["fast"].broken
    assert "torch 1.0" in facts["train"].words


def test_the_build_for_gpus_is_no_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(name: str) -> str:
        if name == "onnxruntime":
            raise PackageNotFoundError(name)
        return "1.30" if name == "onnxruntime-gpu" else "1.0"

    monkeypatch.setattr("kellgren.libraries.version", installed)
    facts = {fact.name: fact for fact in packages.package_facts()}
    assert "missing" not in facts
    assert "onnxruntime 1.30" in facts["libraries"].words


def test_an_engine_that_cannot_be_imported_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[str]:
        raise ImportError("libonnxruntime.so: wrong processor")

    monkeypatch.setattr(parts, "onnxruntime_providers", fails)
    first, *_ = parts.engine_facts()
    assert first.broken
    assert first.words == "cannot be imported (ImportError)"


def test_a_missing_decoder_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(codec.available for codec in codecs())
    assert {codec.decoder for codec in codecs()} == {"pydicom", "pillow", "imagecodecs"}
    without = [c for c in codecs() if c.decoder != "imagecodecs"]
    missing = [replace(c, available=False) for c in codecs() if c.decoder == "imagecodecs"]
    monkeypatch.setattr(parts, "codecs", lambda: [*without, *missing])
    broken = [fact for fact in parts.codec_facts() if fact.broken]
    assert [fact.name for fact in broken] == ["imagecodecs"]
    assert broken[0].words.endswith(": not decoded, the library is missing")


def test_features_are_those_of_this_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 sse4_2\n\n")
    monkeypatch.setattr(processor, "_CPU_INFO", info)
    facts = {fact.name: fact.words for fact in machine.machine_facts()}
    assert facts["processor"] == "Some CPU"
    assert facts["features"] == "sse4_2 avx2"
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "none")
    facts = {fact.name: fact.words for fact in machine.machine_facts()}
    assert facts["features"] == "not known on this system"
