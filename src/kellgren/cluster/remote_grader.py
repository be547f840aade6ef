"""The actor: one process of one core on some node, that reads films and returns their rows."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kellgren.batch.units import FileToGrade, Unit, unit_rows
from kellgren.cluster.parcel import Parcel, opened_there
from kellgren.cluster.software import software
from kellgren.cluster.sources import opened, place_of
from kellgren.ensemble import Ensemble
from kellgren.grades import Side
from kellgren.libraries import ray_without_telemetry, silence_dicom_loggers
from kellgren.reading_schema import READING_ROW, ReadingRow

UnitRows = list[list[ReadingRow]]
"""The rows of each file of a unit."""


def order_text(unit: Unit) -> str:
    """A unit of work as JSON: names may hold bytes that are no text, and Ray passes text only."""
    return json.dumps([[file.image, place_of(file.image), file.side.value] for file in unit])


def rows_of(answer: str) -> UnitRows:
    """The rows of each file of a unit, from what a `RemoteGrader` returned."""
    files = json.loads(answer)
    return [[READING_ROW.validate_python(row) for row in rows] for rows in files]


class RemoteGrader:
    """Grades units of work on a node. It is told what to open after its versions were compared."""

    def __init__(self) -> None:
        silence_dicom_loggers()
        self._ensemble: Ensemble | None = None
        self._force = False

    def software(self) -> dict[str, str]:
        """What is installed here, beside ``host`` and ``node``: its names for people and Ray."""
        with ray_without_telemetry() as ray:
            node = ray.get_runtime_context().get_node_id()
        return {"host": socket.gethostname(), "node": node, **software()}

    def open(
        self, parcel: Parcel | None, options: Mapping[str, Any], force: bool
    ) -> dict[str, str]:
        """Open the bundle.

        Args:
            parcel: its files; ``None``: the one of this installation.
            options: of `Ensemble.open`.
            force: grade what a check refuses too.

        Returns:
            The model as its readings will record it.
        """
        self._ensemble, self._force = opened_there(parcel, options), force
        return self._ensemble.model

    def grade(self, order: str) -> str:
        """Grade one file, or a pair: an order from `order_text`, an answer for `rows_of`."""
        assert self._ensemble is not None
        files = json.loads(order)
        places = {image: place for image, place, _ in files}
        rows = unit_rows(
            self._ensemble,
            [tuple(FileToGrade(image, Side(side)) for image, _, side in files)],
            force=self._force,
            opened=lambda image: opened(image, places[image]),
        )
        return json.dumps([[row.model_dump(mode="json") for row in of_file] for of_file in rows])


@dataclass(frozen=True, slots=True)
class Job:
    """What the actors are told.

    Attributes:
        options: of `Ensemble.open`.
        model: as the readings of this machine would record it.
        parcel: of the bundle; ``None``: the one of each node's installation.
        force: grade what a check refuses too.
        most: actors; ``0``: one for each core of the cluster.
        grader: what an actor is.
    """

    options: Mapping[str, Any]
    model: Mapping[str, str]
    parcel: Parcel | None
    force: bool
    most: int = 0
    grader: type[RemoteGrader] = RemoteGrader
