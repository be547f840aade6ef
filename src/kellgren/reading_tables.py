"""Readings as a CSV table or a JSON document."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kellgren.atomic_files import written_whole

Row = dict[str, Any]
NOTICE = "Research software, not a medical device."
COLUMNS = (
    *("image", "side", "grade", "p0", "p1", "p2", "p3", "p4"),
    *("name", "certainty", "likely_low", "likely_high", "warnings", "note", "read_with", "patient"),
)
"""Of a table of readings."""


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Write the table of readings; ``-`` is standard output."""
    _write(csv_text(rows), path)


def write_json(rows: Iterable[Row], model: dict[str, str], path: Path) -> None:
    """Write all readings as one JSON document; ``-`` is standard output."""
    _write(json_text(rows, model), path)


def json_text(rows: Iterable[Row], model: dict[str, str]) -> str:
    """All readings as one JSON document."""
    content = {
        "notice": NOTICE,
        "model": model,
        "readings": [{k: v for k, v in row.items() if k != "model"} for row in rows],
    }
    return json.dumps(content, indent=2) + "\n"


def csv_text(rows: Iterable[Row]) -> str:
    """The table of readings."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        flat = dict(row)
        if row["grade"] is not None:
            flat.update({f"p{g}": f"{p:.6f}" for g, p in enumerate(row["probabilities"])})
            flat["likely_low"], flat["likely_high"] = row["likely"]
            flat["warnings"] = "; ".join(row["warnings"])
        writer.writerow(flat)
    return stream.getvalue()


def _write(text: str, path: Path) -> None:
    if str(path) == "-":
        sys.stdout.write(text)
        return
    with written_whole(path) as stream:
        stream.write(text)
