"""Results of a reading study: agreement of readers with the model and with each other."""

from __future__ import annotations

import csv
import io
import itertools
from statistics import median

from kellgren.evaluation import score
from kellgren.joint_space.telling import space_words
from kellgren.web.api.study_records import (
    Disagreement,
    Interval,
    PairAgreement,
    ReaderStatistics,
    StudyResults,
)
from kellgren.web.storage.studies import (
    UNGRADABLE,
    Read,
    Reads,
    StudyItem,
    StudyReader,
    consensus_grade,
)

MODEL = "model"
# The columns of a manifest: the table of a study can be indexed and trained on.
_MANIFEST = ("image", "patient", "side", "grade", "split", "source")
_RESAMPLES = 1000
_Cell = str | int | float


def study_results(items: list[StudyItem], readers: list[StudyReader], reads: Reads) -> StudyResults:
    """Agreement of every pair in first (blind) reads, reading times, and where readers differ."""
    grades = {
        reader.name: {
            item.item: reads[reader.number, item.item].first
            for item in items
            if (reader.number, item.item) in reads
        }
        for reader in readers
    }
    grades[MODEL] = {item.item: item.reading.grade for item in items}
    patients = {item.item: item.patient for item in items}
    return StudyResults(
        knees=len(items),
        pairs=[_pair(a, b, grades, patients) for a, b in itertools.combinations(grades, 2)],
        readers=[_statistics(reader, reads) for reader in readers],
        differing=_disagreements(items, readers, reads),
    )


def _pair(
    a: str, b: str, grades: dict[str, dict[int, int]], patients: dict[int, str]
) -> PairAgreement:
    both = [
        item
        for item in grades[a]
        if UNGRADABLE not in (grades[a][item], grades[b].get(item, UNGRADABLE))
    ]
    if not both:
        return PairAgreement(a=a, b=b, knees=0, kappa=None, agreement=None, confusion=None)
    scores = score(
        [grades[a][item] for item in both],
        [grades[b][item] for item in both],
        None,
        [patients[item] for item in both],
        resamples=_RESAMPLES,
    )
    return PairAgreement(
        a=a,
        b=b,
        knees=len(both),
        kappa=Interval.model_validate(scores.qwk.to_dict()),
        agreement=Interval.model_validate(scores.accuracy.to_dict()),
        confusion=[list(row) for row in scores.confusion],
    )


def _statistics(reader: StudyReader, reads: Reads) -> ReaderStatistics:
    own = [read for (number, _), read in reads.items() if number == reader.number]
    return ReaderStatistics(
        id=reader.id,
        name=reader.name,
        read=len(own),
        median_seconds=median(read.seconds for read in own) if own else None,
        revised=sum(read.first != read.final for read in own),
        ungradable=sum(read.final == UNGRADABLE for read in own),
    )


def _finals(item: StudyItem, readers: list[StudyReader], reads: Reads) -> dict[str, int]:
    return {
        reader.name: reads[reader.number, item.item].final
        for reader in readers
        if (reader.number, item.item) in reads
    }


def _disagreements(
    items: list[StudyItem], readers: list[StudyReader], reads: Reads
) -> list[Disagreement]:
    finals = {item.item: _finals(item, readers, reads) for item in items}
    return [
        Disagreement(
            item=item.item,
            image=item.image,
            side=item.reading.side,
            grades=finals[item.item],
            model=item.reading.grade,
            settled=item.adjudicated,
        )
        for item in items
        if len(set(finals[item.item].values())) > 1
    ]


def study_csv(items: list[StudyItem], readers: list[StudyReader], reads: Reads, source: str) -> str:
    """One row a knee: a manifest whose grade is the consensus, then each reader's grades, and the
    joint space, corrected where a person did.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    columns = ("first", "final", "seconds", "comment")
    names = [f"{reader.name} {column}" for reader in readers for column in columns]
    writer.writerow([*_MANIFEST, MODEL, *map(_escaped, names), *space_words.COLUMNS])
    for item in items:
        grade = consensus_grade(item, list(_finals(item, readers, reads).values()))
        cells: list[_Cell] = []
        for reader in readers:
            read = reads.get((reader.number, item.item))
            cells += [""] * 4 if read is None else _read_cells(read)
        image = f"images/{item.case_id}-{item.place + 1}.png"
        shown = "" if grade is None or grade == UNGRADABLE else grade
        row: list[_Cell] = [image, item.patient, item.reading.side, shown, "", source]
        space = item.reading.joint_space
        widths = {} if space is None else space_words.table_cells(space.space)
        measured = [widths.get(column, "") for column in space_words.COLUMNS]
        writer.writerow([*map(_escaped, row), item.reading.grade, *cells, *measured])
    return stream.getvalue()


def _read_cells(read: Read) -> list[_Cell]:
    grades = ["U" if grade == UNGRADABLE else grade for grade in (read.first, read.final)]
    return [*grades, round(read.seconds, 1), _escaped(read.comment)]


def _escaped(cell: _Cell) -> _Cell:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell
