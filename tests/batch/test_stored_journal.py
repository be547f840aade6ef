"""A batch that version 0.1.0 began is ended by this version, with the rows that it kept."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from bundle_factory import make_bundle
from kellgren.batch.journal import Journal
from kellgren.ensemble import Ensemble
from kellgren.reading_schema import READING_ROW, ModelRecord, UngradedRow
from kellgren.reading_tables import COLUMNS, csv_text
from made.batches import grade_batch

STORED = Path(__file__).parents[1] / "web" / "stored" / "journal.jsonl"


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return Ensemble.open(make_bundle(tmp_path_factory.mktemp("models") / "tiny").folder, threads=1)


def test_a_batch_of_version_0_1_0_goes_on(
    tmp_path: Path, ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where none of the films is: what is graded again is refused
    shutil.copy(STORED, tmp_path / "journal")
    before = [json.loads(line) for line in STORED.read_text("utf-8").splitlines()]
    images = list(dict.fromkeys(row["image"] for row in before))
    assert len(images) == 3

    journal = Journal(
        tmp_path / "journal", resume=True, model=ModelRecord.model_validate(before[0]["model"])
    )
    assert journal.done == {"9177337L.png", "film.png"}
    rows = grade_batch(ensemble, images, journal)

    for row, earlier in zip(rows, before, strict=True):
        now, likely = row.model_dump(mode="json"), earlier.pop("likely", None)
        if likely is not None:  # its grades held 90 % of the probability: nobody measured more
            held = {"lowest": likely[0], "highest": likely[1], "level": 0.9, "coverage": None}
            assert (now.pop("grade_set"), now.pop("named"), now.pop("doubts")) == (held, True, [])
            assert (now.pop("right_share"), now.pop("disagreement")) == (None, None)
        assert now == earlier
    assert isinstance(rows[-1], UngradedRow)
    kept = (tmp_path / "journal").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in kept] == [row.model_dump(mode="json") for row in rows]
    table = csv_text(rows).splitlines()
    assert table[1].startswith("9177337L.png,L,2,0.002991,0.040630,0.555420,0.393853,0.007105,")
    cells = dict(zip(COLUMNS, next(csv.reader(table[-1:])), strict=True))
    assert cells.pop("note") == "does not exist. Check the spelling of the path."
    assert cells.pop("image") == "notes.txt"
    assert set(cells.values()) == {""}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk is always full here")
def test_a_full_disk_leaves_no_lock_behind(tmp_path: Path) -> None:
    first, *_ = STORED.read_text("utf-8").splitlines()
    model = ModelRecord.model_validate(json.loads(first)["model"])
    journal = Journal(tmp_path / "journal", resume=False, model=model)
    assert journal._stream is not None
    journal._stream.close()
    journal._stream = open("/dev/full", "wb")  # noqa: SIM115  # the journal closes it
    with pytest.raises(OSError, match="No space left"):
        journal.add([READING_ROW.validate_json(first)])
    with pytest.raises(OSError, match="No space left"):  # what is left of it is written at the end
        journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_a_journal_of_another_form_is_graded_again(tmp_path: Path, ensemble: Ensemble) -> None:
    first, *_ = STORED.read_text("utf-8").splitlines()
    model = ModelRecord.model_validate(json.loads(first)["model"])
    for change in ({"grade": 9}, {"certainty": None}, {"later": 1}):
        path = tmp_path / "journal"
        path.write_text(json.dumps(json.loads(first) | change) + "\n", "utf-8")
        journal = Journal(path, resume=True, model=model)
        journal.close()
        assert journal.done == set()
