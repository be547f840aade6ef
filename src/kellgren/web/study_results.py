"""What a reading study found: agreement of readers with the model and with each other."""

from __future__ import annotations

import csv
import io
import itertools
import sqlite3
from statistics import median
from typing import Any

from kellgren.evaluation import score
from kellgren.web.study_store import UNGRADABLE, agreed, reading_of

MODEL = "model"
# The columns of a manifest: the table of a study can be indexed and trained on.
_MANIFEST = ("image", "patient", "side", "grade", "split", "source")
_RESAMPLES = 1000
Reads = dict[tuple[int, int], sqlite3.Row]


def results(items: list[sqlite3.Row], readers: list[sqlite3.Row], reads: Reads) -> dict[str, Any]:
    """Agreement of every pair, how long reads took, and where readers differ.

    Returns:
        ``pairs``: weighted kappa with its 95 % interval over patients and the confusion matrix, of
        first reads, those that were made blind; ``readers``: count, median seconds, revisions;
        ``differing``: the knees that readers grade differently, for adjudication.
    """
    model = {item["item"]: int(reading_of(item)["grade"]) for item in items}
    firsts = {
        reader["name"]: {
            item["item"]: int(reads[reader["number"], item["item"]]["first"])
            for item in items
            if (reader["number"], item["item"]) in reads
        }
        for reader in readers
    }
    said = {**firsts, MODEL: model}
    patients = {item["item"]: item["patient"] for item in items}
    pairs = [_pair(a, b, said, patients) for a, b in itertools.combinations(said, 2)]
    return {
        "knees": len(items),
        "pairs": pairs,
        "readers": [_reader(reader, reads) for reader in readers],
        "differing": _differing(items, readers, reads),
    }


def _pair(
    a: str, b: str, said: dict[str, dict[int, int]], patients: dict[int, str]
) -> dict[str, Any]:
    both = [
        item for item in said[a] if UNGRADABLE not in (said[a][item], said[b].get(item, UNGRADABLE))
    ]
    if not both:
        return {"a": a, "b": b, "knees": 0, "kappa": None, "agreement": None, "confusion": None}
    found = score(
        [said[a][item] for item in both],
        [said[b][item] for item in both],
        None,
        [patients[item] for item in both],
        resamples=_RESAMPLES,
    )
    return {
        "a": a,
        "b": b,
        "knees": len(both),
        "kappa": found.qwk.to_dict(),
        "agreement": found.accuracy.to_dict(),
        "confusion": [list(row) for row in found.confusion],
    }


def _reader(reader: sqlite3.Row, reads: Reads) -> dict[str, Any]:
    own = [read for (number, _), read in reads.items() if number == reader["number"]]
    return {
        "id": reader["id"],
        "name": reader["name"],
        "read": len(own),
        "median_seconds": median(read["seconds"] for read in own) if own else None,
        "revised": sum(read["first"] != read["final"] for read in own),
        "ungradable": sum(read["final"] == UNGRADABLE for read in own),
    }


def _finals(item: sqlite3.Row, readers: list[sqlite3.Row], reads: Reads) -> dict[str, int]:
    return {
        reader["name"]: int(reads[reader["number"], item["item"]]["final"])
        for reader in readers
        if (reader["number"], item["item"]) in reads
    }


def _differing(
    items: list[sqlite3.Row], readers: list[sqlite3.Row], reads: Reads
) -> list[dict[str, Any]]:
    found = []
    for item in items:
        finals = _finals(item, readers, reads)
        if len(set(finals.values())) > 1:
            reading = reading_of(item)
            found.append(
                {
                    "item": item["item"],
                    "image": item["image"],
                    "side": reading["side"],
                    "grades": finals,
                    "model": reading["grade"],
                    "settled": item["settled"],
                }
            )
    return found


def study_csv(
    items: list[sqlite3.Row], readers: list[sqlite3.Row], reads: Reads, source: str
) -> str:
    """One row a knee: a manifest whose grade is the one agreed on, then what each reader said."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    columns = ("first", "final", "seconds", "comment")
    names = [f"{reader['name']} {column}" for reader in readers for column in columns]
    writer.writerow([*_MANIFEST, MODEL, *map(_harmless, names)])
    for item in items:
        reading = reading_of(item)
        grade = agreed(item, list(_finals(item, readers, reads).values()))
        told: list[Any] = []
        for reader in readers:
            read = reads.get((reader["number"], item["item"]))
            told += [""] * 4 if read is None else _told(read)
        image = f"images/{item['case_id']}-{item['place'] + 1}.png"
        shown = "" if grade in (None, UNGRADABLE) else grade
        row = [image, item["patient"], reading["side"], shown, "", source]
        writer.writerow([*map(_harmless, row), reading["grade"], *told])
    return stream.getvalue()


def _told(read: sqlite3.Row) -> list[Any]:
    grades = ["U" if read[column] == UNGRADABLE else read[column] for column in ("first", "final")]
    return [*grades, round(read["seconds"], 1), _harmless(read["comment"])]


def _harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell
