"""What version 0.1.0 left on disk opens, and answers as it did."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from bundle_factory import make_bundle
from command_line import EXAMPLES
from kellgren.ensemble import Ensemble
from kellgren.grading.bundle import default_bundle
from kellgren.reading_schema import ROW_LIST, GradedRow, ReadingRecord, UngradedRow
from kellgren.web.app import Application
from kellgren.web.settings import Settings
from kellgren.web.storage.case_rows import InvalidStoredCase
from kellgren.web.storage.cases import CaseStore

STORED = Path(__file__).parent / "stored"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = tmp_path / "store"
    store.mkdir()
    shutil.copy(STORED / "cases.sqlite", store)
    return store


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    """A server of today on yesterday's database."""
    app = Application(Settings(store=folder, hosts=frozenset({"testserver"}), workers=0))
    with TestClient(app.asgi()) as opened:
        yield opened


def with_set(reading: dict[str, Any]) -> dict[str, Any]:
    """A reading of 0.1.0 with its likely grades as the set that nobody measured."""
    if "likely" not in reading:
        return reading
    lowest, highest = reading["likely"]
    held = {"lowest": lowest, "highest": highest, "level": 0.9, "coverage": None}
    known = {"named": True, "doubts": [], "right_share": None, "disagreement": None}
    return (
        {key: part for key, part in reading.items() if key != "likely"}
        | known
        | {"grade_set": held}
    )


def as_before(answer: Any) -> Any:
    """An answer of 0.1.0 without what answers no longer have, its times as they are now."""
    if isinstance(answer, list):
        return [as_before(part) for part in answer]
    if not isinstance(answer, dict):
        return answer
    known = with_set({key: as_before(part) for key, part in answer.items()})
    if "companions" in known:
        assert known.pop("checks") == []  # never held anything
        known["refused"] = []  # since then
    if "probabilities" in known and known.get("note") == "":
        del known["note"]  # of the table's row; the reading itself has none
    if "created" in known:
        known["created"] = known["created"].replace("+00:00", "Z")
    return known


def without_reasons(answer: Any) -> Any:
    """An answer without the reasons for intervals that there are not, which 0.1.0 did not give."""
    if isinstance(answer, list):
        return [without_reasons(part) for part in answer]
    if not isinstance(answer, dict):
        return answer
    dropped = {"reason"} if "low" in answer else set()
    return {key: without_reasons(part) for key, part in answer.items() if key not in dropped}


def same_table(now: str, before: str) -> bool:
    """Whether a table has all that it had; the set's ends are called otherwise since then."""
    renamed = before.replace("likely_low", "set_low").replace("likely_high", "set_high")
    rows, earlier = (list(csv.DictReader(io.StringIO(text))) for text in (now, renamed))
    kept = [{name: row.get(name) for name in old} for row, old in zip(rows, earlier, strict=True)]
    return kept == earlier


def test_the_database_answers_as_before(client: TestClient) -> None:
    answers = json.loads((STORED / "answers.json").read_text("utf-8"))
    states = {case["state"] for case in answers["/api/v1/cases"]["cases"]}
    assert states == {"graded", "refused", "failed"}
    assert len(answers) > 10
    for path, before in answers.items():
        answer = client.get(path)
        assert answer.status_code == 200, path
        if path.endswith("/similar"):
            assert answer.json()["knees"] == [], path  # they were found by another model's networks
        elif path.endswith(".json"):
            document = answer.json()
            counts = document.pop("counts")  # since then
            assert counts["graded"] + counts["not_graded"] == len(document["readings"])
            earlier = json.loads(before)
            earlier["readings"] = [with_set(reading) for reading in earlier["readings"]]
            assert document == earlier, path
        elif isinstance(before, str):
            assert same_table(answer.text, before), path
        else:
            assert without_reasons(answer.json()) == as_before(before), path


def test_similar_knees_of_another_model_are_dropped(folder: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "tiny").folder
    app = Application(
        Settings(store=folder, hosts=frozenset({"testserver"}), workers=0, model=other)
    )
    with TestClient(app.asgi()) as client:
        assert client.get("/api/v1/cases").json()["total"] == 4


def test_a_case_that_cannot_be_read_is_named(folder: Path) -> None:
    base = sqlite3.connect(folder / "cases.sqlite")
    with base:
        base.execute("UPDATE cases SET rows = replace(rows, '\"grade\": 4', '\"grade\": 9')")
        [(identifier,)] = base.execute("SELECT id FROM cases WHERE rows LIKE '%: 9%' LIMIT 1")
    base.close()
    store = CaseStore(folder)
    with pytest.raises(InvalidStoredCase, match=f"case {identifier}.*cannot read.*[Dd]elete"):
        store.case(identifier)
    assert store.delete(identifier)
    assert store.case(identifier) is None
    store.close()


def test_the_journal_is_made_of_readings() -> None:
    lines = (STORED / "journal.jsonl").read_text("utf-8").splitlines()
    rows = ROW_LIST.validate_python([json.loads(line) for line in lines])
    assert [type(row) for row in rows] == [GradedRow] * 3 + [UngradedRow]
    for row, line in zip(rows, lines, strict=True):
        assert row.model_dump(mode="json") == with_set(json.loads(line))


def test_the_schema_is_what_a_reading_gives() -> None:
    [reading] = Ensemble.open(default_bundle(), threads=1).read(EXAMPLES / "9177337R.png")
    given = reading.to_dict()
    record = ReadingRecord.model_validate(given)
    assert json.dumps(record.model_dump(mode="json")) == json.dumps(given)
    assert list(ReadingRecord.model_fields) == list(given)
    for wrong in ({"extra": 1}, {"grade": 5}, {"certainty": "sure"}, {"probabilities": [1.0]}):
        with pytest.raises(ValidationError):
            ReadingRecord.model_validate(given | wrong)
    for missing in given.keys() - {"side_evidence", "joint_space"}:  # 0.1 had none
        with pytest.raises(ValidationError):
            ReadingRecord.model_validate({k: v for k, v in given.items() if k != missing})
    with pytest.raises(ValidationError):
        record.grade = 0
