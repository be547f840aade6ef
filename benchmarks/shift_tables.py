r"""What the shift watch is measured on: held-out knees, their pictures measured, also altered.

    python benchmarks/shift_tables.py --data kneeKL299 --patients 400 \
        --oof results/oof/ensemble.csv.gz -o results/shift/held_out.csv.gz
    python benchmarks/shift_tables.py --data kneeKL299 --patients 60 --altered \
        --model DEFAULT-OF-FOLD-0 -o results/shift/altered.csv.gz

Both take one knee of each of some patients of fold 0, from which no network of that bundle
learnt: the default one's, but those of fold 0 throughout. The first from the one end of a drawn
order of the patients, the second from the other. The first adds gate distance and exposure to
out-of-fold predictions, so that only the picture is looked at anew; the second alters the pictures
and grades them. The package's reference is then made by

    kellgren watch results/shift/held_out.csv.gz --write-reference shift_reference.json
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from robustness import VARIANTS

from kellgren import Ensemble
from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee, for_training, index
from kellgren.data.splits import make_folds
from kellgren.grading.bundle import default_bundle
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.check import Check
from kellgren.localisation.film import find_joints
from kellgren.localisation.knee_detector import Localiser

ALTERED = ("gamma 1.4", "blur 2")
SHARES = tuple(f"p{grade}" for grade in range(5))
COLUMNS = ("image", "side", "grade", *SHARES, "gate_distance", "exposure", "patient")

Row = dict[str, object]


def values(checks: tuple[Check, ...]) -> Row:
    """Gate distance and exposure of a joint."""
    told = {check.name: check.value for check in checks}
    return {"gate_distance": told.get("picture"), "exposure": told.get("exposure")}


def one_of_each(knees: list[Knee]) -> list[Knee]:
    """A knee of each held-out patient, in a drawn order."""
    mask = make_folds(knees).held_out(knees, 0)
    mine = [knee for knee, held in zip(knees, mask, strict=True) if held]
    drawn = [mine[place] for place in np.random.default_rng(18).permutation(len(mine))]
    return list({knee.patient: knee for knee in drawn}.values())


def measured(knees: list[Knee], oof: Path) -> Iterator[Row]:
    """The rows of out-of-fold predictions with the two values of their pictures."""
    localiser = Localiser()
    with gzip.open(oof, "rt", newline="") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    for knee in knees:
        joints = find_joints(read_radiograph(knee.image), (), localiser)
        if len(joints) == 1 and not joints[0].refusal:
            row = rows[knee.image.name]
            kept: Row = {name: row[name] for name in ("image", "side", "grade", *SHARES)}
            yield kept | values(joints[0].checks) | {"patient": knee.patient}


def altered(knees: list[Knee], model: Path) -> Iterator[Row]:
    """The knees with another tone, and blurred, as they are graded; refused ones are not."""
    ensemble = Ensemble.open(model, threads=1, pair=False, joint_space=False)
    for knee in knees:
        pixels = np.asarray(Image.open(knee.image).convert("L"))
        for name in ALTERED:
            for reading in ensemble.read_film(VARIANTS[name](pixels), knee.side):
                shares = {f"p{g}": f"{p:.6f}" for g, p in enumerate(reading.probabilities)}
                told: Row = {"image": f"{name}/{knee.image.name}", "side": knee.side.value}
                told |= {"grade": int(reading.grade), "patient": knee.patient}
                yield told | shares | values(reading.checks)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--oof", type=Path)
    words.add_argument("--patients", type=int, default=400)
    words.add_argument("--altered", action="store_true")
    words.add_argument("--model", type=Path, default=default_bundle())
    words.add_argument("-o", "--output", type=Path, required=True)
    given = words.parse_args()
    knees = one_of_each(for_training(index(given.data), given.data))
    if given.altered:
        rows = altered(knees[-given.patients :], given.model)
    else:
        rows = measured(knees[: given.patients], given.oof)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with replaced_whole(given.output) as temporary:
        temporary.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    main()
