"""The actor: one process of one core on some node, that reads films and returns their rows."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kellgren.batch.batch import Outcome, grade_unit
from kellgren.cluster.parcel import Parcel, opened_there
from kellgren.cluster.software import software
from kellgren.cluster.sources import opened
from kellgren.ensemble import Ensemble
from kellgren.grades import Side
from kellgren.library_messages import ray_without_telemetry, silence_dicom_loggers
from kellgren.reading_schema import READING_ROW, ReadingRow


@dataclass(frozen=True, slots=True)
class Film:
    """A file to be graded.

    Attributes:
        image: its name, as it was given.
        place: where nodes find it.
        side: of the knee, if the caller knows it.
    """

    image: str
    place: str
    side: Side


def order_text(films: Sequence[Film]) -> str:
    """A unit of work as JSON: names may hold bytes that are no text, and Ray passes text only."""
    return json.dumps([[film.image, film.place, film.side.value] for film in films])


def rows_of(answer: str) -> list[tuple[ReadingRow, ...]]:
    """The rows of each film of a unit, from what a `RemoteGrader` returned."""
    films = json.loads(answer)
    return [tuple(READING_ROW.validate_python(row) for row in rows) for rows in films]


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
        """Grade one film, or a pair: an order from `order_text`, an answer for `rows_of`."""
        assert self._ensemble is not None
        films = {image: (place, Side(side)) for image, place, side in json.loads(order)}
        outcomes = grade_unit(
            self._ensemble,
            tuple(films),
            lambda image: films[image][1],
            self._force,
            lambda image: opened(image, films[image][0]),
        )
        return json.dumps([_dumped(outcome) for outcome in outcomes])


def _dumped(outcome: Outcome) -> list[dict[str, Any]]:
    return [row.model_dump(mode="json") for row in outcome.rows()]
