"""Would training on this data be honest? Every reason against it, with examples."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from itertools import chain
from typing import Any, Literal

import numpy as np

from kellgren.artefacts import file_checksum
from kellgren.data.knee_folders import looks_like_auto_test
from kellgren.data.manifest import Knee
from kellgren.errors import UnreadableRadiograph
from kellgren.imaging.picture import FORMAT_SUFFIXES
from kellgren.imaging.radiograph import read_radiograph
from kellgren.parallel.interrupts import mapped

Severity = Literal["error", "warning", "fine"]
Counts = dict[str, dict[int, int]]
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        severity: ``error`` where training on the data would be dishonest or impossible.
        title: the result, in one line.
        examples: some of the files or patients.
    """

    severity: Severity
    title: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audit:
    """The counts of a data set and the findings in it."""

    counts: Counts
    published_counts: Counts
    findings: tuple[Finding, ...]

    @property
    def honest(self) -> bool:
        """Whether there is no finding against training on it."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"honest": self.honest, **asdict(self)}


@dataclass(frozen=True, slots=True)
class _CheckedFile:
    """What one file turned out to be."""

    file_hash: str = ""
    pixel_hash: str = ""
    problem: str = ""


@cache
def published_files() -> dict[tuple[str, str], tuple[int, str, str]]:
    """The published set: (width, path in it) -> grade, SHA-256 of the file, SHA-256 of its pixels.

    Source: Chen P., Mendeley Data V1 2018, doi 10.17632/56rmx5bjcr.1.
    """
    packed = resources.files("kellgren") / "published" / "chen2018.csv.gz"
    text = gzip.decompress(packed.read_bytes()).decode()
    return {
        (row["resolution"], row["path"]): (int(row["grade"]), row["sha256"], row["pixel_sha256"])
        for row in csv.DictReader(text.splitlines())
    }


def audit(
    knees: Sequence[Knee], advance: Callable[[int, int], None] = lambda done, of: None
) -> Audit:
    """Check every file of a data set.

    Args:
        knees: of a manifest.
        advance: called with how many files are done, and of how many.
    """
    checked: list[_CheckedFile] = []
    with ThreadPoolExecutor() as pool:
        for done, file in enumerate(mapped(pool, _check_file, knees), start=1):
            checked.append(file)
            advance(done, len(knees))
    findings = chain(
        _undecodable(knees, checked),
        _ungraded(knees),
        _straddling(knees),
        _recropped(knees),
        _leaked(knees, checked),
        _repeated(knees, checked),
        _incomplete(knees),
        _unlike_published(knees, checked),
    )
    return Audit(count_grades(knees), _published_counts(), tuple(findings))


def count_grades(knees: Iterable[Knee]) -> Counts:
    """How many knees of each grade each split has; -1 counts those without a grade."""
    counted: dict[str, Counter[int]] = defaultdict(Counter)
    for knee in knees:
        counted[knee.split or "no split"][-1 if knee.grade is None else int(knee.grade)] += 1
    return {split: dict(sorted(counter.items())) for split, counter in sorted(counted.items())}


def _published_counts() -> Counts:
    counted: dict[str, Counter[int]] = defaultdict(Counter)
    # Both resolutions hold the same knees, but only the smaller one has the auto_test split.
    for path, grade in {path: at[0] for (_, path), at in published_files().items()}.items():
        counted[path.split("/")[0]][grade] += 1
    return {split: dict(sorted(counter.items())) for split, counter in sorted(counted.items())}


def _check_file(knee: Knee) -> _CheckedFile:
    try:
        pixels = read_radiograph(knee.image).pixels
        file_hash = file_checksum(knee.image)
    except (UnreadableRadiograph, OSError) as error:
        reason = error.problem if isinstance(error, UnreadableRadiograph) else "cannot be opened"
        return _CheckedFile(problem=reason)
    grey = np.rint(pixels * 255).astype(np.uint8)
    return _CheckedFile(file_hash, hashlib.sha256(grey.tobytes()).hexdigest())


def _finding(severity: Severity, title: str, examples: Iterable[str]) -> Finding:
    return Finding(severity, title, tuple(sorted(examples)[:_EXAMPLES]))


def _undecodable(knees: Sequence[Knee], checked: Sequence[_CheckedFile]) -> Iterator[Finding]:
    bad = [f"{k.image}: {at.problem}" for k, at in zip(knees, checked, strict=True) if at.problem]
    if bad:
        yield _finding("error", f"{len(bad)} files cannot be read", bad)
    else:
        yield Finding("fine", f"all {len(knees)} files can be read")


def _ungraded(knees: Sequence[Knee]) -> Iterator[Finding]:
    missing = [str(knee.image) for knee in knees if knee.grade is None]
    if missing:
        yield _finding("error", f"{len(missing)} knees have no grade", missing)
    absent = set(range(5)) - {int(knee.grade) for knee in knees if knee.grade is not None}
    if absent:
        names = ", ".join(str(grade) for grade in sorted(absent))
        yield Finding("warning", f"no knee has grade {names}")


def _straddling(knees: Sequence[Knee]) -> Iterator[Finding]:
    splits: dict[str, set[str]] = defaultdict(set)
    for knee in knees:
        split = "test" if knee.split == "auto_test" else knee.split
        splits[knee.patient].add(split)
    both = [patient for patient, splits_of in splits.items() if len(splits_of) > 1]
    if both:
        yield _finding("error", f"{len(both)} patients are in two splits", both)
    else:
        yield Finding("fine", f"none of the {len(splits)} patients is in two splits")


def _recropped(knees: Sequence[Knee]) -> Iterator[Finding]:
    recrops = [knee for knee in knees if looks_like_auto_test(knee.image)]
    posing = [str(knee.image) for knee in recrops if knee.split != "auto_test"]
    if posing:
        yield _finding("error", f"{len(posing)} re-crops of test knees pose as others", posing)
    elif recrops:
        yield Finding("fine", f"{len(recrops)} re-crops of test knees are left out of training")


def _leaked(knees: Sequence[Knee], checked: Sequence[_CheckedFile]) -> Iterator[Finding]:
    """Published test pictures under other names: pixels tell where names and splits do not."""
    test = {
        digest
        for (_, path), (_, *both) in published_files().items()
        if path.startswith(("test/", "auto_test/"))
        for digest in both
    }
    posing = [
        str(knee.image)
        for knee, file in zip(knees, checked, strict=True)
        if knee.split not in ("test", "auto_test") and {file.file_hash, file.pixel_hash} & test
    ]
    if posing:
        yield _finding("error", f"{len(posing)} published test pictures pose as others", posing)


def _repeated(knees: Sequence[Knee], checked: Sequence[_CheckedFile]) -> Iterator[Finding]:
    same: dict[str, list[Knee]] = defaultdict(list)
    for knee, file in zip(knees, checked, strict=True):
        if file.pixel_hash:
            same[file.pixel_hash].append(knee)
    groups = [group for group in same.values() if len(group) > 1]
    leaking = [
        " = ".join(str(knee.image) for knee in group)
        for group in groups
        if len({knee.patient for knee in group}) > 1 or len({knee.split for knee in group}) > 1
    ]
    conflicting = [
        " = ".join(f"{knee.image} ({knee.grade})" for knee in group)
        for group in groups
        if len({knee.grade for knee in group}) > 1
    ]
    if leaking:
        yield _finding(
            "error", f"{len(leaking)} pictures stand for several patients or splits", leaking
        )
    if conflicting:
        yield _finding("error", f"{len(conflicting)} pictures have two grades", conflicting)
    if not groups:
        yield Finding("fine", "no two files share all their pixels")
    elif not leaking and not conflicting:
        yield Finding("warning", f"{len(groups)} pictures occur more than once")


def _incomplete(knees: Sequence[Knee]) -> Iterator[Finding]:
    """Splits of the published set that are there, but not whole."""
    ours = [knee for knee in knees if knee.source.startswith("chen2018")]
    published = _published_counts()
    for split, counts in count_grades(ours).items():
        if split in published and counts != published[split]:
            present, expected = sum(counts.values()), sum(published[split].values())
            yield Finding("warning", f"{split}: {present} knees, published {expected}")


def _unlike_published(knees: Sequence[Knee], checked: Sequence[_CheckedFile]) -> Iterator[Finding]:
    """Compare with the published files by split, grade and name; a copy may be re-encoded."""
    by_name = {
        (resolution, path.split("/")[0], path.rsplit("/", 1)[1][:-4]): (resolution, path)
        for resolution, path in published_files()
    }
    relabelled: list[str] = []
    changed: list[str] = []
    recoded: list[str] = []
    equal = 0
    for knee, file in zip(knees, checked, strict=True):
        keys = [by_name.get((r, knee.split, knee.image.stem)) for r in ("299", "224")]
        facts = [published_files()[key] for key in keys if key is not None]
        if not facts:
            continue
        if knee.grade is not None and int(knee.grade) != facts[0][0]:
            relabelled.append(f"{knee.image}: {int(knee.grade)}, published {facts[0][0]}")
        hashes = {digest for _, *both in facts for digest in both}
        if file.file_hash in hashes or file.pixel_hash in hashes:
            equal += 1
        elif file.pixel_hash:
            lossy = knee.image.suffix.lower() in FORMAT_SUFFIXES["JPEG"]
            (recoded if lossy else changed).append(str(knee.image))
    if relabelled:
        yield _finding(
            "warning", f"{len(relabelled)} knees have another grade than published", relabelled
        )
    if changed:
        yield _finding("warning", f"{len(changed)} files differ from the published ones", changed)
    if recoded:
        yield _finding("warning", f"{len(recoded)} files were saved anew as JPEG", recoded)
    if equal:
        yield Finding("fine", f"{equal} files have the published pixels")
