"""Readings as a Parquet file with typed columns, written in row groups as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kellgren.atomic_files import replaced_whole
from kellgren.errors import MissingExtra
from kellgren.grades import NOT_NAMED, NOTICE
from kellgren.joint_space.telling import space_words
from kellgren.reading_schema import GradedRow, ModelRecord, ReadingRow

if TYPE_CHECKING:
    import pyarrow

ROWS_A_GROUP = 10_000
_TYPES = {
    **dict.fromkeys(("image", "side"), "string"),
    **dict.fromkeys(("grade",), "int8"),
    **dict.fromkeys(("p0", "p1", "p2", "p3", "p4"), "float64"),
    **dict.fromkeys(("name", "certainty"), "string"),
    "right_share": "float64",
    **dict.fromkeys(("set_low", "set_high"), "int8"),
    "set_level": "float64",
    "most_probable": "int8",
    **dict.fromkeys(("disagreement", "gate_distance", "exposure"), "float64"),
    **dict.fromkeys(("doubts", "warnings"), "list"),
    **dict.fromkeys(("note", "read_with", "patient"), "string"),
    **dict.fromkeys(space_words.COLUMNS, "float64"),
    **dict.fromkeys(("jsw_corrected", "jsw_note"), "string"),
    **dict.fromkeys(("local_calibration", "overlay"), "string"),
    **dict.fromkeys(("centre_x", "centre_y", "width", "angle", "mm_per_pixel"), "float64"),
}
"""Columns by their type: those of the CSV in its order, and where the joint lies on its film."""


class ParquetTable:
    """A Parquet file of readings; a row group is written whenever enough rows have come.

    Args:
        path: of the file, which must not be read before `end`.
        model: that graded all rows; stands in the file's metadata as JSON.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, path: Path, model: ModelRecord | None) -> None:
        arrow = pyarrow_library()
        facts: dict[str, str] = {"kellgren.notice": NOTICE}
        if model is not None:
            facts["kellgren.model"] = json.dumps(model.model_dump(mode="json"))
        self._schema = parquet_schema().with_metadata(facts)
        self._columns: dict[str, list[Any]] = {name: [] for name in _TYPES}
        self._batch = arrow.RecordBatch
        self._writer = _writer(path, self._schema)

    @classmethod
    @contextmanager
    def at(cls, path: Path, model: ModelRecord | None) -> Iterator[Self]:
        """Open one that appears at its path when the block ends well."""
        pyarrow_library()
        with replaced_whole(path) as temporary:
            table = cls(temporary, model)
            try:
                yield table
            finally:
                table.end()

    def add(self, row: ReadingRow) -> None:
        """Take one row."""
        for name, value in _values(row).items():
            self._columns[name].append(value)
        if len(self._columns["image"]) == ROWS_A_GROUP:
            self._write_group()

    def end(self) -> None:
        """Write the last rows and the file's end."""
        if self._columns["image"]:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        self._writer.write_batch(self._batch.from_pydict(self._columns, schema=self._schema))
        for values in self._columns.values():
            values.clear()


def parquet_schema() -> pyarrow.Schema:
    """The columns and their types; all but ``image``, ``doubts`` and ``warnings`` may be null.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    arrow = pyarrow_library()
    types = {
        "string": arrow.string(),
        "int8": arrow.int8(),
        "float64": arrow.float64(),
        "list": arrow.list_(arrow.string()),
    }
    always = {"image", "doubts", "warnings"}
    return arrow.schema(
        [arrow.field(name, types[kind], name not in always) for name, kind in _TYPES.items()]
    )


def pyarrow_library() -> Any:
    """The library that writes Parquet.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise MissingExtra(
            "--parquet",
            "needs pyarrow, which is not installed",
            "Install it, in a clone: pip install '.[parquet]'; or write --csv FILE",
        ) from None
    return pyarrow


def _writer(path: Path, schema: pyarrow.Schema) -> Any:
    from pyarrow.parquet import ParquetWriter

    return ParquetWriter(str(path), schema, compression="zstd")


def _values(row: ReadingRow) -> dict[str, Any]:
    """The values of a row by column; ``None`` where it has none."""
    values: dict[str, Any] = dict.fromkeys(_TYPES)
    values |= {"image": row.image, "side": row.side or None, "note": row.note or None}
    values |= {"patient": row.patient, "overlay": row.overlay, "doubts": [], "warnings": []}
    if row.region is not None:
        x, y = row.region.centre
        values |= {"centre_x": x, "centre_y": y}
        values |= {"width": row.region.width, "angle": row.region.angle}
    if isinstance(row, GradedRow):
        values |= _graded_values(row) | _joint_space_values(row)
    return values


def _joint_space_values(row: GradedRow) -> dict[str, float | str | None]:
    """The cells of the CSV as numbers and texts; ``None`` where they are empty."""
    if row.joint_space is None:
        return {}
    cells = space_words.table_cells(row.joint_space.space)
    return {
        name: (float(cell) if _TYPES[name] == "float64" else cell) if cell else None
        for name, cell in cells.items()
    }


def _graded_values(row: GradedRow) -> dict[str, Any]:
    """What a row has more where a knee was graded; the grade and its name only where named."""
    measured = {check.name: check.value for check in row.checks}
    return {
        **{f"p{grade}": share for grade, share in enumerate(row.probabilities)},
        "grade": row.grade if row.named else None,
        "name": row.name if row.named else None,
        "note": None if row.named else NOT_NAMED,
        "certainty": row.certainty,
        "right_share": row.right_share,
        "set_low": row.grade_set.lowest,
        "set_high": row.grade_set.highest,
        "set_level": row.grade_set.level,
        "most_probable": row.grade,
        "disagreement": row.disagreement,
        "gate_distance": measured.get("picture"),
        "exposure": measured.get("exposure"),
        "doubts": list(row.doubts),
        "warnings": list(row.warnings),
        "read_with": row.read_with,
        "local_calibration": row.model.local_calibration,
        "mm_per_pixel": row.mm_per_pixel,
    }
