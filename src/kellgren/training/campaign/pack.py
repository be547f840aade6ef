"""What a campaign has finished, as one pack to be merged elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kellgren.archives import (
    Advance,
    Contents,
    PackedFile,
    archive_bytes,
    describe,
    read_contents,
    write_pack,
)
from kellgren.errors import InvalidPack, TrainingError
from kellgren.training.campaign.plan import FOLDS, PLAN, TrainingJob, all_jobs, read_plan
from kellgren.training.run_folder import FACTS, MODEL

SUFFIXES = frozenset({".json", ".jsonl", ".csv", ".npz", ".onnx"})
"""Of a run's files that are packed: neither checkpoints nor curves, whose numbers the log has."""

_Files = list[tuple[PackedFile, Path]]


@dataclass(frozen=True)
class Packed:
    """What became of a campaign's jobs.

    Attributes:
        contents: the pack's manifest.
        whole: jobs of which this pack, or an earlier one, holds every file.
        without_member: jobs whose tables are packed and whose member (ONNX) is not.
        left_out: finished jobs that had no room at all.
        unfinished: jobs that are not finished, and so not packed.
    """

    contents: Contents
    whole: tuple[str, ...]
    without_member: tuple[str, ...]
    left_out: tuple[str, ...]
    unfinished: tuple[str, ...]


def pack_campaign(
    folder: Path,
    out: Path,
    piece_bytes: int,
    *,
    most_files: int | None = None,
    tables_only: bool = False,
    after: Sequence[Path] = (),
    advance: Advance = lambda done, of: None,
) -> Packed:
    """Pack plan, folds, and every finished run but for its checkpoints and curves.

    Where not all of it has room, the most valuable comes first: the tables of all jobs
    (predictions, scores, facts, heads), then the members of jobs that hold nothing out, then
    those of the folds, in the plan's order. The manifest lists what is left out, too, so that a
    later pack can bring it.

    Args:
        folder: of the campaign.
        out: new or empty folder.
        piece_bytes: most bytes of a piece, and of the manifest.
        most_files: pieces and manifest together; ``None``: as many as it takes.
        tables_only: leave every member (ONNX) out.
        after: manifests of earlier packs of this campaign, whose files are not packed again.
        advance: called with how many bytes are packed.

    Raises:
        TrainingError: the folder holds no readable plan, or no finished job.
        InvalidPack: not even plan and folds have room, or an earlier manifest cannot be read.
    """
    jobs = all_jobs(folder)
    finished = [job for job in jobs if job.is_finished]
    if not finished:
        raise TrainingError(folder, "has no finished job yet", "Go on with train ensemble")
    most = None if most_files is None else (most_files - 1) * piece_bytes
    chosen = _Chosen([_described(folder / name, folder) for name in (PLAN, FOLDS)], most)
    if not chosen.fits([]):
        raise InvalidPack(folder, "its plan and folds alone have no room", "Allow larger pieces")
    sent = {file for path in after for file in read_contents(path).packed}
    runs = {job.name: _files_of(job, folder) for job in finished}
    for job in finished:
        chosen.add([f for f in runs[job.name] if f[1].name != MODEL], sent)
    for job in () if tables_only else sorted(finished, key=lambda job: job.fold is not None):
        if chosen.has(runs[job.name], sent, but_for=MODEL):
            chosen.add(runs[job.name], sent)
    listed = chosen.listed([file for run in runs.values() for file in run])
    contents = write_pack("campaign", read_plan(folder).name, listed, out, piece_bytes, advance)
    whole = [name for name, run in runs.items() if chosen.has(run, sent)]
    tables = [name for name, run in runs.items() if chosen.has(run, sent, but_for=MODEL)]
    return Packed(
        contents,
        whole=tuple(whole),
        without_member=tuple(name for name in tables if name not in whole),
        left_out=tuple(name for name in runs if name not in tables),
        unfinished=tuple(job.name for job in jobs if not job.is_finished),
    )


class _Chosen:
    """The files that there is room for."""

    def __init__(self, files: _Files, most: int | None) -> None:
        self._files = dict.fromkeys(files)
        self._most = most

    def fits(self, more: _Files) -> bool:
        """Whether these files have room beside those that are in."""
        files = (file for file, _ in {**self._files, **dict.fromkeys(more)})
        return self._most is None or archive_bytes(files) <= self._most

    def add(self, files: _Files, sent: set[PackedFile]) -> None:
        """Take files of one run that were not sent, all of them or none; its facts with them."""
        new = [file for file in files if file[0] not in sent and file not in self._files]
        if new:
            new += [file for file in files if file[1].name == FACTS and file not in new]
            if self.fits(new):
                self._files |= dict.fromkeys(new)

    def has(self, run: _Files, sent: set[PackedFile], but_for: str = "") -> bool:
        """Whether a run's files are in, or were sent before."""
        return all(
            file in self._files or file[0] in sent for file in run if file[1].name != but_for
        )

    def listed(self, known: _Files) -> _Files:
        """The files that are in, and the others of the finished jobs, marked as left out."""
        others = [
            (f.model_copy(update={"packed": False}), path)
            for f, path in known
            if (f, path) not in self._files
        ]
        return [*self._files, *others]


def _described(path: Path, folder: Path) -> tuple[PackedFile, Path]:
    return describe(path.relative_to(folder).as_posix(), path), path


def _files_of(job: TrainingJob, folder: Path) -> _Files:
    """The files of a run that others need."""
    return [
        _described(path, folder)
        for path in sorted(job.run.iterdir())
        if path.is_file() and path.suffix in SUFFIXES and not path.name.startswith(".")
    ]
