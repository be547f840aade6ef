"""Whom the pool blames when graders end, and who waits for whom."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from command_line import PATIENCE
from kellgren.reading_schema import ModelRecord, UngradedRow
from kellgren.web.settings import Settings
from kellgren.web.storage.case_rows import StoredCase
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.messages import Answer, GraderReady, Upload, encoded_answer
from kellgren.web.workers import pool as pool_module
from kellgren.web.workers import process
from kellgren.web.workers.pool import GraderPool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
MODEL = ModelRecord.model_validate(
    {
        **{"software": "kellgren 0.1.0", "name": "tiny", "checksum": "0" * 64},
        **{"engine": "onnxruntime", "precision": "fp32", "mirror": "off", "other_knee": "off"},
    }
)
KILLS = 15
BAD = hashlib.sha256(b"bad.png").hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    opened = CaseStore(tmp_path / "store")
    yield opened
    opened.close()


def accepted(store: CaseStore, name: str) -> str:
    made = Upload(*store.blobs.receive(io.BytesIO(name.encode())), name, "")
    (identifier,) = store.accept([made], most_open=9)
    return identifier


def grader(folder: Path, ending: str) -> Path:
    """A program that answers as a grader does, and at one film ends first."""
    refused = UngradedRow(image="film.png", side="", grade=None, note="shows no knee")
    (folder / "answer").write_bytes(
        encoded_answer(Answer("refused", (refused,), "shows no knee", MODEL))
    )
    ready = json.dumps(GraderReady(model=MODEL).model_dump(mode="json"))
    script = folder / "grader.sh"
    script.write_text(
        f"""#!/bin/sh
echo '{ready}'
while read -r job; do
  case "$job" in *{BAD}*)
    echo >> {folder}/endings
    if [ $(wc -l < {folder}/endings) -le {KILLS} ]; then {ending}; fi;;
  esac
  cat {folder}/answer
done
"""
    )
    script.chmod(0o700)
    return script


def read_all(
    store: CaseStore, folder: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> list[StoredCase]:
    """Have the pool read two films, the older of which ends graders; cases as answered."""
    for name in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S", "_IDLE_S"):
        monkeypatch.setattr(pool_module, name, 0.01)
    monkeypatch.setattr(process.sys, "executable", str(grader(folder, ending)))
    cases = [accepted(store, name) for name in ("bad.png", "good.png")]
    answers = SimpleQueue[None]()
    settings = Settings(store=folder / "store", hosts=frozenset({"testserver"}), workers=1)
    pool = GraderPool(store, settings, on_answer=lambda: answers.put(None))
    pool.start()
    for _ in cases:
        answers.get(timeout=PATIENCE)
    pool.stop()
    answered = [case for case in map(store.case, cases) if case is not None]
    return sorted(answered, key=lambda case: case.revision)  # of the store when it was answered


def test_kills_from_outside_prove_nothing_and_the_film_makes_way(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = read_all(store, tmp_path, monkeypatch, "kill -KILL $$")
    assert good.content != bad.content == BAD
    assert (good.state, bad.state) == ("refused", "refused")
    assert bad.note == "shows no knee"
    assert len((tmp_path / "endings").read_text().splitlines()) == KILLS + 1


def test_crashes_do(store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = read_all(store, tmp_path, monkeypatch, "kill -SEGV $$")
    assert (good.state, bad.state) == ("refused", "failed")
    assert "ended the grader" in bad.note
    assert len((tmp_path / "endings").read_text().splitlines()) == 2
