"""A remembered engine holds for its bundle, versions and processor, and for nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle_factory import make_bundle
from kellgren.engine_choice import remembered as memory
from kellgren.engine_choice.engine_candidates import EngineChoice
from kellgren.engine_choice.measuring import Measured
from kellgren.engine_choice.remembered import forget, outdated, remember, remembered
from kellgren.grading.bundle import CARD, open_bundle

CHOICE = EngineChoice(engine="openvino", precision="bf16", workers=3)
REFERENCE = Measured(EngineChoice(workers=2), 0.5, 0.08, 0.1, 10, 1.0, 0.0)
MEASURED = Measured(CHOICE, 0.5, 0.04, 0.1, 10, 1.0, 0.004)


@pytest.fixture
def kept(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with a remembered engine, in a home of its own."""
    monkeypatch.setenv("KELLGREN_HOME", str(tmp_path / "home"))
    assert remembered(bundle) is None
    remember(open_bundle(bundle).checksum, MEASURED, REFERENCE)
    return bundle


def test_what_is_remembered_comes_back_and_is_forgotten(kept: Path) -> None:
    known = remembered(kept)
    assert known is not None
    assert known.choice == CHOICE
    assert known.words == "openvino bf16, 3 workers: 0.50 of the time of onnxruntime fp32"
    assert not outdated(kept)
    assert forget(open_bundle(kept).checksum) == 1
    assert remembered(kept) is None
    assert not outdated(kept)
    assert forget(open_bundle(kept).checksum) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("versions", lambda: {"kellgren": "99", "onnxruntime": "1"}),
        ("processor_name", lambda: "Another CPU"),
        ("processor_features", lambda: ("avx2",)),
        ("usable_cores", lambda: 1024),
    ],
)
def test_it_is_not_used_where_anything_changed(
    kept: Path, name: str, value: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, name, value)
    assert remembered(kept) is None
    assert outdated(kept)
    remember(open_bundle(kept).checksum, REFERENCE, REFERENCE)  # for this machine, beside the other
    known = remembered(kept)
    assert known is not None
    assert known.choice == REFERENCE.choice
    monkeypatch.undo()


def test_another_bundle_has_none(kept: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", seed=9).folder
    assert remembered(other) is None
    assert not outdated(other)


def test_a_changed_card_has_none(kept: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / CARD).write_text((kept / CARD).read_text() + " ")
    assert remembered(copy) is None
    assert remembered(tmp_path / "no bundle at all") is None
    assert not outdated(tmp_path / "no bundle at all")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff" * 8, b"x" * 10**6, b'{"choice": {"workers": 2}}']
)
def test_a_damaged_file_counts_as_never_measured(kept: Path, content: bytes) -> None:
    (path,) = memory.engines_folder().iterdir()
    path.write_bytes(content)
    assert remembered(kept) is None
    remember(open_bundle(kept).checksum, MEASURED, REFERENCE)
    assert remembered(kept) is not None


def test_a_file_under_anothers_name_is_not_believed(kept: Path) -> None:
    (path,) = memory.engines_folder().iterdir()
    path.write_text(path.read_text().replace('"cores": ', '"cores": 9'))
    assert remembered(kept) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_a_pipe_in_place_of_a_card_is_not_waited_for(kept: Path, tmp_path: Path) -> None:
    assert remembered(kept) is not None
    os.mkfifo(tmp_path / CARD)
    assert remembered(tmp_path) is None
    assert not outdated(tmp_path)
