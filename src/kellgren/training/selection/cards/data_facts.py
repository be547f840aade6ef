"""What a card says of the data: facts of the files, and what their owner states; nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

from PIL import Image, UnidentifiedImageError

from kellgren.data.audit import published_files
from kellgren.data.manifest import Knee
from kellgren.grading.card import Pictures, TrainingData
from kellgren.imaging.picture import FORMAT_SUFFIXES
from kellgren.training.selection.out_of_fold import Run

NOT_STATED = "not stated"
_SCALE = "Kellgren-Lawrence, grades 0 to 4; which reading protocol the labels follow is not stated"
_OAI_SCALE = "Kellgren-Lawrence as read in the Osteoarthritis Initiative, grades 0 to 4"
_USE = (
    "Research on posterior-anterior knee radiographs, one knee a picture. Not a medical device: "
    "not for diagnosis or treatment. Known limits: {limits}"
)
_OAI_LIMITS = "no implants, no children, no lateral or skyline views."
_CHEN = {
    "name": "Knee Osteoarthritis Severity Grading Dataset, train and val splits",
    "licence": "CC BY 4.0",
    "credit": "Chen P., Mendeley Data V1 2018, doi 10.17632/56rmx5bjcr.1",
    "population": "Osteoarthritis Initiative, ages 45 to 79, USA",
    "limits": _OAI_LIMITS,
}
_LEAST_PUBLISHED = 0.95
"""Share of the knees that must be the published ones, by name and grade, for the set's credit."""
_OAI_NOTE = (
    "The radiographs were taken, and graded, in the Osteoarthritis Initiative (OAI), which the US "
    "National Institutes of Health fund; neither has reviewed this model."
)
_COPIES_NOTE = "The pictures read were {format} copies; the data set publishes PNG files."
_IMAGENET_NOTE = (
    "Training began with weights learnt from ImageNet, whose pictures are offered for "
    "non-commercial research; the weights' own licences stand with each network where known."
)
_DICOM = "DICOM"
_NOT_READ = "not read"


@dataclass(frozen=True, slots=True)
class StatedData:
    """What the owner of training data says of them; empty: nothing.

    Attributes:
        name: of the data.
        licence: under which they may be used.
        credit: whom to cite.
        population: whose knees they are: cohort, ages, place.
        limits: which knees or pictures they do not hold.
    """

    name: str = ""
    licence: str = ""
    credit: str = ""
    population: str = ""
    limits: str = ""


def training_data(
    chosen: Sequence[Run], knees: Sequence[Knee], stated: StatedData | None = None
) -> TrainingData:
    """What the chosen networks learnt from: a final, or two folds together, leave no knee out.

    Args:
        chosen: whose networks go in.
        knees: graded, among them all that the runs learnt from or held out.
        stated: by the data's owner; what is empty there is a fact of the published set where the
            knees are those, and ``not stated`` otherwise.
    """
    first = chosen[0].facts
    final = next((run for run in chosen if run.fold is None), None)
    graded = [knee for knee in knees if knee.grade is not None]
    if final is not None or len({run.fold for run in chosen}) == 1:
        facts = (final or chosen[0]).facts
        counted, patients = int(facts["knees"]), int(facts["patients"])
    else:
        counted, patients = len(graded), len({knee.patient for knee in graded})
    published = is_published(chosen, graded)
    pictures = pictures_of(graded)
    return TrainingData(
        **_said(chosen, stated or StatedData(), published=published),
        knees=counted,
        patients=patients,
        folds_hash=first["folds_hash"],
        folds=first["folds"],
        pictures=pictures,
        notes=_notes(chosen, pictures, published=published),
    )


def is_published(chosen: Sequence[Run], knees: Sequence[Knee]) -> bool:
    """Whether all that the runs learnt from is the published set of Chen.

    A folder's layout proves nothing: other knees can lie in folders of the same names. The knees
    must be the published ones, by name and grade.

    Args:
        chosen: runs, with their sources.
        knees: graded, those of the runs among them.
    """
    sources = [source for run in chosen for source in run.facts["sources"]]
    if not knees or not all(source.startswith("chen2018") for source in sources):
        return False
    known = {
        (path.rsplit("/", 1)[1].rsplit(".", 1)[0], grade)
        for (_, path), (grade, *_) in published_files().items()
    }
    found = sum((knee.image.stem, int(knee.grade or 0)) in known for knee in knees)
    return found >= _LEAST_PUBLISHED * len(knees)


def scale_of(data: TrainingData) -> str:
    """Which Kellgren-Lawrence version the labels follow, as far as that is known."""
    return _OAI_SCALE if data.credit == _CHEN["credit"] else _SCALE


def intended_use(data: TrainingData) -> str:
    """What the bundle is for, and the limits that follow from its data."""
    if data.credit == _CHEN["credit"]:
        limits = f"trained on one cohort ({data.population}); {data.limits}"
    else:
        limits = (
            f"population of the training data: {data.population}; limits of the training data: "
            f"{data.limits}."
        )
    return _USE.format(limits=limits)


def pictures_of(knees: Sequence[Knee]) -> tuple[Pictures, ...]:
    """What the knees' files are, by their headers: format, and the range of their sizes."""
    sizes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    without: dict[str, int] = defaultdict(int)
    for knee in knees:
        try:
            with Image.open(knee.image) as picture:
                sizes[str(picture.format)].append(picture.size)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            known = knee.image.suffix.lower() in FORMAT_SUFFIXES["DICOM"] and knee.image.is_file()
            without[_DICOM if known else _NOT_READ] += 1
    measured = [
        Pictures(
            format=kind,
            knees=len(count),
            width=(min(w for w, _ in count), max(w for w, _ in count)),
            height=(min(h for _, h in count), max(h for _, h in count)),
        )
        for kind, count in sorted(sizes.items())
    ]
    return (*measured, *(Pictures(format=kind, knees=n) for kind, n in sorted(without.items())))


def _said(chosen: Sequence[Run], stated: StatedData, *, published: bool) -> dict[str, str]:
    sources = sorted({source for run in chosen for source in run.facts["sources"]})
    own = {field.name: NOT_STATED for field in fields(stated)} | {"name": ", ".join(sources)}
    known = _CHEN if published else own
    return {name: getattr(stated, name) or known[name] for name in known}


def _notes(
    chosen: Sequence[Run], pictures: Sequence[Pictures], *, published: bool
) -> tuple[str, ...]:
    notes = []
    if published:
        notes.append(_OAI_NOTE)
        copied = [kind.format for kind in pictures if kind.format not in ("PNG", _NOT_READ)]
        notes += [_COPIES_NOTE.format(format=kind) for kind in copied]
    if any("ImageNet" in run.facts["started_from"] for run in chosen):
        notes.append(_IMAGENET_NOTE)
    return tuple(notes)
