"""Calibration of the server's bundle to a study's readers: the estimate, and a bundle to download.

The server's own model never changes: whoever runs it starts it anew with the other bundle.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from kellgren.arrays import Distributions, GradeArray
from kellgren.errors import KellgrenError
from kellgren.grading.bundle import Bundle
from kellgren.local_calibration.calibrated_bundle import (
    NOT_STATED,
    LocalNames,
    calibrated_card,
    check_uncalibrated,
    write_calibrated,
)
from kellgren.local_calibration.estimate import LocalEstimate, estimate
from kellgren.local_calibration.learning_curve import learning_curve
from kellgren.local_calibration.local_sets import local_grade_sets
from kellgren.local_calibration.verdict import (
    growth_words,
    shown_changes,
    verdict_words,
    warnings_of,
)
from kellgren.web.api.cases import Identifier
from kellgren.web.api.schemas import Problem
from kellgren.web.api.study_records import Interval, MetricChange, StudyCalibration
from kellgren.web.guard import who_asks
from kellgren.web.storage.audit_log import AuditLog
from kellgren.web.storage.case_names import printable
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.studies import (
    UNGRADABLE,
    Reads,
    StudyItem,
    StudyReader,
    StudyStore,
    consensus_grade,
)

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such study."}
}
_NOTHING: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "Nothing is to be calibrated; the text says why."}
}
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {}}, "description": "The folder of the bundle."}
}
_RESAMPLES = 1000
Words = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, slots=True, eq=False)
class ReadKnees:
    """A study's knees with a grade that its readers share."""

    probabilities: Distributions  # (N, 5)
    grades: GradeArray  # (N,)
    patients: tuple[str, ...]
    left_out: int


class CalibrationRoutes:
    """Routes that tell what a study's grades would change, and hand out the bundle.

    Args:
        store: of the cases and studies.
        bundle: the server's.
        audit: is told who fetches a bundle.
    """

    def __init__(self, store: CaseStore, bundle: Bundle, audit: AuditLog) -> None:
        self._studies, self._bundle, self._audit = StudyStore(store), bundle, audit
        self.router = router = APIRouter(
            prefix="/api/v1/studies", tags=["studies"], responses=_PROBLEMS
        )
        router.get("/{study}/calibration")(self.estimate)
        router.get(
            "/{study}/calibrated-bundle.zip",
            response_class=FileResponse,
            responses=_ZIP | _NOTHING,
        )(self.calibrated)

    def estimate(self, study: Identifier) -> StudyCalibration:
        """What a calibration to the study's grades would bring, told by other patients' knees."""
        knees = self._knees(study)
        counted = {
            "knees": len(knees.grades),
            "patients": len(set(knees.patients)),
            "left_out": knees.left_out,
        }
        try:
            made = self._made(knees)
        except KellgrenError as error:
            return StudyCalibration(
                **counted, problem=error.reason, calibrated=False, words="", metrics=[], warnings=[]
            )
        curve = learning_curve(knees.probabilities, knees.grades, knees.patients)
        return StudyCalibration(
            **counted,
            problem=None,
            calibrated=made.fit.verdict == "calibrated",
            words=f"{verdict_words(made.fit)} {growth_words(curve)}",
            metrics=_changes(made),
            warnings=warnings_of(made),
        )

    def calibrated(
        self,
        study: Identifier,
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=60)],
        licence: Words = NOT_STATED,
        credit: Words = NOT_STATED,
        limits: Words = NOT_STATED,
    ) -> FileResponse:
        """The server's bundle, calibrated to the study's grades, as a ZIP archive."""
        knees = self._knees(study)
        stated = [printable(words) or NOT_STATED for words in (name, licence, credit, limits)]
        try:
            made = self._made(knees)
            shipped = self._bundle.card.grade_sets
            sets = local_grade_sets(made.after, made.truth, made.patients, shipped)
            card = calibrated_card(self._bundle, made, sets, LocalNames(*stated))
        except KellgrenError as error:
            raise HTTPException(409, error.reason) from None
        folder = Path(tempfile.mkdtemp(prefix="kellgren-"))
        try:
            written = write_calibrated(self._bundle, card, folder / "bundle")
            archive = _zipped(written.folder, folder / "bundle.zip")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._audit.write("calibrated bundle fetched", who_asks(request), study=study)
        return FileResponse(
            archive,
            media_type="application/zip",
            filename="calibrated-bundle.zip",
            background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
        )

    def _made(self, knees: ReadKnees) -> LocalEstimate:
        check_uncalibrated(self._bundle)
        return estimate(knees.probabilities, knees.grades, knees.patients, resamples=_RESAMPLES)

    def _knees(self, identifier: str) -> ReadKnees:
        study = self._studies.study(identifier)
        if study is None:
            raise HTTPException(404, "There is no such study")
        return read_knees(
            self._studies.items(study),
            self._studies.readers(study),
            self._studies.reads(study),
            self._bundle.checksum,
        )


def read_knees(
    items: list[StudyItem], readers: list[StudyReader], reads: Reads, checksum: str
) -> ReadKnees:
    """The knees whose grade is settled, or the same in all first reads, which saw no model.

    Args:
        items: of the study.
        readers: of the study.
        reads: theirs.
        checksum: of the bundle; what another one read is left out.
    """
    kept: list[tuple[StudyItem, int]] = []
    for item in items:
        firsts = [
            reads[reader.number, item.item].first
            for reader in readers
            if (reader.number, item.item) in reads
        ]
        grade = consensus_grade(item, firsts)
        of_it = item.reading.model.checksum == checksum
        if grade is not None and grade != UNGRADABLE and of_it:
            kept.append((item, grade))
    return ReadKnees(
        np.array([item.reading.probabilities for item, _ in kept]).reshape(-1, 5),
        np.array([grade for _, grade in kept], dtype=np.int64),
        tuple(item.patient for item, _ in kept),
        len(items) - len(kept),
    )


def _changes(made: LocalEstimate) -> list[MetricChange]:
    return [
        MetricChange(
            name=metric.name,
            before=_or_none(it.other),
            after=_or_none(it.this),
            difference=Interval.model_validate(it.difference.to_dict()),
        )
        for metric, it in shown_changes(made)
    ]


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, f"bundle/{path.name}")
    return archive
