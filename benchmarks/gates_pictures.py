"""What is no native frontal knee: for each kind tried, refused, warned of, graded and how surely.

    python benchmarks/gates_pictures.py --data kneeKL299 [--frames frames] [--others FOLDER]

Implants and growth plates are of shapes that the gate's training did not draw
(`held_out_shapes.py`), laid on knees that it did not learn from. The other drawn pictures are of
the kinds that it drew, others of them; photographs come with libraries of the train extra,
`--others` names a folder of pictures of one's own that must not be graded. `--real` knees that
the gate neither learnt from nor took its limits from are judged as they were published; so are the
real films, those first that it did not learn from either. Needs the train extra.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import held_out_shapes
import numpy as np
from films import BOXES, photographs

from kellgren import Ensemble
from kellgren.data.manifest import Knee, for_training, index
from kellgren.errors import KellgrenError
from kellgren.grades import Side
from kellgren.grading.calibration import certainty
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.knee import Plane
from kellgren.localisation.film import find_knees
from kellgren.localisation.picture_gate import default_gate
from kellgren.training.gate_making import drawn_pictures
from kellgren.training.gate_making.build import roles_of
from kellgren.training.gate_making.examples import WITH_IMPLANT, square
from kellgren.training.gate_making.native import exposed, moved
from kellgren.training.knee_detector.run import read_boxes

PARTS = ("drawn", "metal", "others", "frames", "real", "time")
HELD_OUT: dict[str, Callable[[Plane, np.random.Generator], Plane]] = {
    "prostheses, shapes held out": held_out_shapes.prosthesis,
    "plates and fixators, held out": held_out_shapes.osteosynthesis,
    "growth plates, held out": held_out_shapes.growth_plates,
}
OTHERS = (
    *("skyline", "lateral", "bones", "off_joint", "shuffled", "retoned"),
    *("slices", "ultrasound", "figure", "writing", "texture"),
)


def tally(name: str, films: Iterable[Radiograph], ensemble: Ensemble, *, graded: bool) -> None:
    """Print one line, and the reasons; ``graded``: also grade what passes, for its certainty."""
    count, sure, reasons = Counter[str](), Counter[str](), Counter[str]()
    for film in films:
        count["tried"] += 1
        found = find_knees(film, (), ensemble.localiser, force=True)
        against = [{c.name for c in knee.checks if c.verdict == "refused"} for knee in found]
        if all(against):
            count["refused"] += 1
            reasons.update(set().union(*against))
            continue
        knees = [knee for knee, reason in zip(found, against, strict=True) if not reason]
        checks = [check for knee in knees for check in knee.checks]
        count["warned" if any(c.verdict == "warning" for c in checks) else "graded"] += 1
        if graded:
            sure.update(
                certainty(ensemble.panel.examine(knee.crop).probabilities) for knee in knees
            )
    tried, refused = count["tried"], count["refused"]
    print(
        f"{name:<34} tried {tried:>5} refused {refused:>5} ({refused / max(tried, 1):.1%}) "
        f"warned {count['warned']:>4} graded {count['graded']:>5} {dict(sure) if graded else ''} "
        f"by {dict(reasons)}",
        flush=True,
    )


def film_of(pixels: Plane) -> Radiograph:
    """A picture that was made here."""
    return Radiograph("made", pixels.astype(np.float32), Side.UNKNOWN, None, 8, "array", ())


def drawn(
    knees: list[Knee], make: Callable[[Plane, np.random.Generator], Plane], count: int
) -> Iterator[Radiograph]:
    """Knees with something drawn on them, moved and exposed as those of the training."""
    rng = np.random.default_rng(11)
    for number in rng.permutation(len(knees))[:count]:
        plane = make(square(read_radiograph(knees[number].image).pixels), rng)
        yield film_of(exposed(moved(plane, rng)[0], rng))


def read_all(paths: Iterable[Path]) -> Iterator[Radiograph]:
    """Those that can be read at all."""
    for path in paths:
        try:
            yield read_radiograph(path)
        except KellgrenError:
            continue


def dicom_samples() -> list[Path]:
    """Slices and secondary captures that come with pydicom."""
    import pydicom

    return sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))


def real_frames(folder: Path, ensemble: Ensemble) -> None:
    for part, said in (("test", "not learnt from"), ("train", "learnt from")):
        names = read_boxes(BOXES, part)
        tally(f"real films, {said}", read_all(folder / n for n in names), ensemble, graded=False)


def timing(knees: list[Knee]) -> None:
    gate = default_gate()
    planes = [read_radiograph(knee.image).pixels for knee in knees[:20]]
    gate.scores(planes[0])
    spent = []
    for plane in planes:
        began = time.perf_counter()
        gate.scores(plane)
        spent.append(time.perf_counter() - began)
    print(f"the gate, one knee: median {np.median(spent):.3f} s, least {min(spent):.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--others", type=Path, help="folder of pictures that must be refused")
    parser.add_argument("--count", type=int, default=100, help="of each drawn kind")
    parser.add_argument("--real", type=int, default=1000)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    ensemble = Ensemble.default(threads=1)
    made = default_gate().card.training
    all_knees = for_training(index(options.data), options.data)
    unseen = roles_of(all_knees, made["learnt"], made["seed"]).unseen
    if "drawn" in options.parts:
        for name, make in HELD_OUT.items():
            tally(name, drawn(unseen, make, options.count), ensemble, graded=True)
    if "metal" in options.parts:
        metal = [knee.image for knee in all_knees if knee.image.stem in WITH_IMPLANT]
        tally("real metal, published knees", read_all(metal), ensemble, graded=True)
    if "others" in options.parts:
        for kind in OTHERS:
            make = getattr(drawn_pictures, kind)
            tally(f"drawn: {kind}", drawn(unseen, make, options.count // 4), ensemble, graded=True)
        tally("photographs", read_all(photographs()), ensemble, graded=True)
        tally("DICOM samples", read_all(dicom_samples()), ensemble, graded=True)
        if options.others:
            files = sorted(path for path in options.others.rglob("*") if path.is_file())
            tally("others", read_all(files), ensemble, graded=True)
    if options.frames and "frames" in options.parts:
        real_frames(options.frames, ensemble)
    if "time" in options.parts:
        timing(unseen)
    if "real" in options.parts:
        order = np.random.default_rng(5).permutation(len(unseen))[: options.real]
        films = read_all(unseen[number].image for number in order)
        tally("real knees, neither role", films, ensemble, graded=False)


if __name__ == "__main__":
    main()
