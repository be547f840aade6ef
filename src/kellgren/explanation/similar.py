"""Graded knees whose features are nearest to those of a knee: a compact index.

The index holds, of each knee, its grade, a small picture and a short code: the features of every
network, averaged over the picture, brought to unit length and projected on their principal axes.
It fits only the networks it was made with, and names them by their checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from kellgren.arrays import Float32Array, GradeArray
from kellgren.artefacts import ArtefactKind, file_checksum
from kellgren.atomic_files import replaced_whole, written_whole
from kellgren.file_names import patient_and_side
from kellgren.grades import GRADE_COUNT, Grade, Side
from kellgren.grading.bundle import Bundle
from kellgren.model_files.npz import Array, npz_arrays

CARD, CODES, PICTURES = "similar.json", "codes.npz", "pictures.bin"
_ARRAYS = ("files", "grades", "sizes", "centre", "axes", "codes")
_MOST_CODES_BYTES = 1 * 2**30  # of a million knees
# Two files of one film, in whatever format, lie closer than this: PNG and JPEG of an example up to
# 0.049 apart. So do 2 of the 1 308 knees and their nearest, which are then left out: no loss.
SAME_FILM = 0.058
KIND = ArtefactKind(
    "index of similar knees",
    CARD,
    "Restore the index from where it came, or install the package again",
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the knees of an index come from, and their credit."""

    name: str
    licence: str
    credit: str
    selection: str


class IndexCard(BaseModel):
    """What is known of an index.

    Attributes:
        source: of its knees.
        networks: SHA-256 of each network whose features it holds, in order.
        knees: how many.
        files: SHA-256 of each of its files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    networks: tuple[str, ...]
    knees: int
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Likeness:
    """One graded knee, and how far it lies from the one that was asked about.

    Attributes:
        number: in the index.
        file: its published name, without a suffix.
        patient: of the published set.
        side: of the patient.
        grade: as published.
        distance: between the codes; 0 for the same picture.
    """

    number: int
    file: str
    patient: str
    side: Side
    grade: Grade
    distance: float


def joined(features: Sequence[Float32Array]) -> Float32Array:
    """Features of several networks as one vector, each network's at unit length."""
    units = [part / max(float(np.linalg.norm(part)), 1e-12) for part in features]
    return np.concatenate(units).astype(np.float32)


class SimilarKnees:
    """An index that was checked against its own checksums.

    Attributes:
        source: of its knees.
        networks: SHA-256 of each network whose features it holds, in order.
    """

    def __init__(
        self,
        *,
        source: Source,
        networks: Sequence[str],
        files: Sequence[str],
        grades: GradeArray,
        centre: Float32Array,
        axes: Float32Array,
        codes: Float32Array,
        pictures: Sequence[bytes],
    ) -> None:
        self.source = source
        self.networks = tuple(networks)
        self._files = tuple(files)
        self._grades = grades
        self._centre, self._axes, self._codes = centre, axes, codes
        self._pictures = tuple(pictures)

    def __len__(self) -> int:
        return len(self._files)

    @classmethod
    def default(cls) -> Self:
        """The index that comes with the package.

        Raises:
            BundleError: it is damaged or missing.
        """
        return cls.open(Path(str(resources.files("kellgren"))) / "models" / "similar")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """An index on disk.

        Raises:
            BundleError: it is missing or damaged.
        """
        _, content = KIND.content(folder)
        card = KIND.parsed(folder, content, IndexCard)
        files = KIND.files(folder, card.files)
        parts = {name: files.read(name) for name in (CODES, PICTURES)}
        try:
            arrays = npz_arrays(parts[CODES], _ARRAYS, _MOST_CODES_BYTES)
            _check_codes(arrays, len(parts[PICTURES]))
        except ValueError as error:
            raise KIND.damaged(folder / CODES, str(error)) from None
        ends = np.cumsum(arrays["sizes"], dtype=np.int64)
        return cls(
            source=card.source,
            networks=card.networks,
            files=[str(name) for name in arrays["files"]],
            grades=arrays["grades"],
            **{name: arrays[name].astype(np.float32) for name in ("centre", "axes", "codes")},
            pictures=[
                parts[PICTURES][end - int(size) : end]
                for end, size in zip(ends.tolist(), arrays["sizes"], strict=True)
            ],
        )

    def write(self, folder: Path) -> None:
        """Lay the index down; its card, with the checksums, last."""
        with replaced_whole(folder / CODES) as path:
            np.savez_compressed(
                path,
                files=np.array(self._files),
                grades=self._grades.astype(np.uint8),
                sizes=np.array([len(picture) for picture in self._pictures], dtype=np.uint32),
                centre=self._centre.astype(np.float16),
                axes=self._axes.astype(np.float16),
                codes=self._codes.astype(np.float16),
            )
        with replaced_whole(folder / PICTURES) as path:
            path.write_bytes(b"".join(self._pictures))
        card = IndexCard(
            source=self.source,
            networks=self.networks,
            knees=len(self),
            files={name: file_checksum(folder / name) for name in (CODES, PICTURES)},
        )
        with written_whole(folder / CARD) as stream:
            stream.write(card.model_dump_json(indent=2) + "\n")

    def places(self, bundle: Bundle) -> tuple[int, ...] | None:
        """Where a bundle has the networks of this index; ``None``: it lacks one of them."""
        available = network_checksums(bundle)
        if not set(self.networks) <= set(available):
            return None
        return tuple(available.index(network) for network in self.networks)

    def nearest(
        self,
        features: Sequence[Float32Array],
        count: int,
        excluded: Callable[[str], bool] = lambda patient: False,
    ) -> list[Likeness]:
        """The knees that lie closest, nearest first.

        Args:
            features: of a knee: those of this index's networks, in its order; see `places`.
            count: how many at most.
            excluded: whether to leave out the knees of a patient. Those of a patient whose
                film this is, by the picture itself, are left out anyway.
        """
        code = (joined(features) - self._centre) @ self._axes
        distances = np.linalg.norm(self._codes - code, axis=1)
        nearest: list[Likeness] = []
        own: set[str] = set()
        for number in np.argsort(distances, kind="stable"):
            if len(nearest) >= count:
                break
            knee = self.knee(int(number), float(distances[number]))
            if knee.distance < SAME_FILM:
                own.add(knee.patient)
            elif knee.patient not in own and not excluded(knee.patient):
                nearest.append(knee)
        return nearest

    @property
    def checksum(self) -> str:
        """Changes with whatever the numbers of its knees mean."""
        identity = "\n".join([*self.networks, *self._files])
        return hashlib.sha256(identity.encode()).hexdigest()

    def knee(self, number: int, distance: float = 0.0) -> Likeness:
        """One knee of the index.

        Raises:
            IndexError: it holds fewer.
        """
        patient, side = patient_and_side(self._files[number])
        grade = Grade(int(self._grades[number]))
        return Likeness(number, self._files[number], patient, side, grade, distance)

    def picture(self, number: int) -> bytes:
        """Its picture, a WebP file as it stands in the index: left knees are not mirrored.

        Raises:
            IndexError: the index holds fewer.
        """
        return self._pictures[number]


def _check_codes(arrays: dict[str, Array], picture_bytes: int) -> None:
    """Raise a ValueError where the arrays of an index do not fit each other or its pictures."""
    knees, codes = arrays["files"].shape, arrays["axes"].shape[-1:]
    shapes = {
        "grades": knees,
        "sizes": knees,
        "axes": (*arrays["centre"].shape, *codes),
        "codes": (*knees, *codes),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype.kind not in "uf":
            raise ValueError(f"its array {name} has the shape {arrays[name].shape}, not {shape}")
    if len(knees) != 1 or arrays["grades"].max(initial=0) >= GRADE_COUNT:
        raise ValueError("its grades are none, or not of one knee each")
    if sum(arrays["sizes"].tolist()) != picture_bytes:
        raise ValueError("its pictures do not have the sizes that it states")
    if not all(np.isfinite(arrays[name]).all() for name in ("centre", "axes", "codes")):
        raise ValueError("its codes are not finite numbers")


def network_checksums(bundle: Bundle) -> list[str]:
    """SHA-256 of each network of a bundle, in its order."""
    return [bundle.card.files[member.model] for member in bundle.card.members]
