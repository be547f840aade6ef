"""The engine that was measured as the fastest, kept for one bundle on one machine.

A choice holds for the bundle, the versions of the libraries and the processor that it was measured
with, and for no others: the name of its file is made of them, and they are compared again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kellgren.artefacts import MOST_CARD_BYTES
from kellgren.atomic_files import written_whole
from kellgren.engine_choice.engine_candidates import EngineChoice, versions
from kellgren.engine_choice.measuring import Measured
from kellgren.grading.bundle import CARD
from kellgren.grading.engines.processor import processor_features, processor_name, usable_cores
from kellgren.home import cache_folder
from kellgren.model_files.regular import read_regular

_MOST_BYTES = 64 * 1024


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeasuredOn(_Kept):
    """What a choice was measured with.

    Attributes:
        bundle: its checksum.
        versions: of the libraries.
        processor: its name.
        features: its instructions that decide how fast a network runs.
        cores: that could be used.
    """

    bundle: str
    versions: dict[str, str]
    processor: str
    features: tuple[str, ...]
    cores: int

    @property
    def file_name(self) -> str:
        """Of the choice's file; another for anything else it could be measured with."""
        rest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()
        return f"{self.bundle[:16]}-{rest[:16]}.json"


class RememberedEngine(_Kept):
    """A choice, and what was measured of it.

    Attributes:
        measured_on: what it holds for.
        choice: the engine.
        seconds: of one knee.
        reference_seconds: of one knee with ONNX Runtime in fp32.
        knees: that were graded.
        same_grades: share of them with the reference's grade.
        largest_shift: of a probability.
    """

    measured_on: MeasuredOn
    choice: EngineChoice
    seconds: float
    reference_seconds: float
    knees: int
    same_grades: float
    largest_shift: float

    @property
    def words(self) -> str:
        """Such as ``openvino bf16, 2 workers: 0.52 of the time of onnxruntime fp32``."""
        ratio = self.seconds / self.reference_seconds
        return f"{self.choice.words}: {ratio:.2f} of the time of onnxruntime fp32"


def remember(bundle: str, measured: Measured, reference: Measured) -> RememberedEngine:
    """Keep a choice for a bundle on this machine, in the place of an earlier one.

    Args:
        bundle: its checksum.
        measured: the choice.
        reference: ONNX Runtime in fp32, of the same run.

    Raises:
        CannotWrite: the folder cannot be written to.
    """
    kept = RememberedEngine(
        measured_on=_here(bundle),
        choice=measured.choice,
        seconds=measured.wall_seconds,
        reference_seconds=reference.wall_seconds,
        knees=measured.knees,
        same_grades=measured.same_grades,
        largest_shift=measured.largest_shift,
    )
    path = engines_folder() / kept.measured_on.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as stream:
        stream.write(kept.model_dump_json(indent=2) + "\n")
    return kept


def remembered(folder: Path) -> RememberedEngine | None:
    """The choice for a bundle on this machine, as it is now; ``None`` where there is none.

    Args:
        folder: of the bundle; one that cannot be read has no choice.
    """
    if not engines_folder().is_dir():  # as on most machines, where nothing was ever measured
        return None
    try:
        here = _here(_checksum(folder))
        content = read_regular(engines_folder() / here.file_name, _MOST_BYTES)
        kept = RememberedEngine.model_validate_json(content)
    except (OSError, ValueError):  # what is not whole counts as never measured
        return None
    return kept if kept.measured_on == here else None


def forget(bundle: str) -> int:
    """Delete the choices for a bundle, those of other versions too; returns how many.

    Args:
        bundle: its checksum.
    """
    found = list(engines_folder().glob(f"{bundle[:16]}-*.json"))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def outdated(folder: Path) -> bool:
    """Whether there are choices for a bundle, and none that holds here and now.

    Args:
        folder: of the bundle.
    """
    if not engines_folder().is_dir() or remembered(folder) is not None:
        return False
    try:
        bundle = _checksum(folder)
    except (OSError, ValueError):
        return False
    return any(engines_folder().glob(f"{bundle[:16]}-*.json"))


def engines_folder() -> Path:
    """Where choices are kept: they can be measured again at any time."""
    return cache_folder() / "engines"


def _checksum(folder: Path) -> str:
    """Of a bundle that nobody has checked yet.

    Raises:
        OSError: its card cannot be read, or is a pipe or a device.
        ValueError: it is too large for a card.
    """
    return hashlib.sha256(read_regular(folder / CARD, MOST_CARD_BYTES)).hexdigest()


def _here(bundle: str) -> MeasuredOn:
    return MeasuredOn(
        bundle=bundle,
        versions=versions(),
        processor=processor_name(),
        features=processor_features(),
        cores=usable_cores(),
    )
