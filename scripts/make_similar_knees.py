"""Make the index of similar graded knees that the reading room shows.

    python scripts/make_similar_knees.py --data kneeKL299 [-o src/kellgren/models/similar]

Its knees are those in the bundle's out_of_fold.csv, and its features those of the networks that
never learnt from them, so that what lies close together does so because it looks alike and not
because it was learnt by heart. Run it again whenever the networks of the default bundle change;
another vote of the same networks needs no other index.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from kellgren.data.manifest import Knee, index
from kellgren.ensemble import Ensemble
from kellgren.errors import NotAKneeFilm
from kellgren.explanation.similar import SimilarKnees, Source, joined, network_checksums
from kellgren.grading.bundle import default_bundle
from kellgren.grading.card import Card

HERE = Path(__file__).parents[1]
PICTURE, QUALITY = 256, 78  # pixels, WebP
SOURCE = Source(
    name="Knee Osteoarthritis Severity Grading Dataset",
    licence="CC BY 4.0",
    credit="Chen 2018, doi 10.17632/56rmx5bjcr.1, CC BY 4.0",
    selection="train and val knees that the networks compared never learnt from",
)


def held_out(bundle: Path, knees: list[Knee]) -> list[Knee]:
    """The knees that none of a bundle's networks learnt from."""
    with (bundle / "out_of_fold.csv").open(newline="", encoding="utf-8") as stream:
        names = {Path(row["image"]).stem for row in csv.DictReader(stream)}
    chosen = [knee for knee in knees if knee.image.stem in names and knee.grade is not None]
    if {knee.image.stem for knee in chosen} != names:
        raise SystemExit(f"{len(names)} knees are in {bundle}/out_of_fold.csv, {len(chosen)} found")
    return sorted(chosen, key=lambda knee: knee.image.stem)


def unlearnt(card: Card) -> list[int]:
    """Positions of the networks that learnt from none of the folds that scored the bundle."""
    folds = set(card.out_of_fold["held_out_folds"])
    places = [at for at, one in enumerate(card.members) if not folds & set(one.trained_folds)]
    if not places:
        raise SystemExit(f"every network of {card.name} learnt from the knees of its scores")
    return places


def small(knee: Knee) -> bytes:
    """A picture for the page."""
    stream = io.BytesIO()
    with Image.open(knee.image) as picture:
        grey = picture.convert("L").resize((PICTURE, PICTURE), Image.Resampling.LANCZOS)
    grey.save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue()


def principal_axes(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and the axes of largest variance, (F, count), each with its largest part positive."""
    centre = vectors.mean(axis=0)
    _, _, rows = np.linalg.svd(vectors - centre, full_matrices=False)
    axes = rows[:count].T
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return centre, axes * signs


def main() -> None:
    """Look at every knee, write the index, and say how well neighbours' grades agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="published folder or manifest")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--axes", type=int, default=48)
    parser.add_argument(
        "-o", "--output", type=Path, default=HERE / "src" / "kellgren" / "models" / "similar"
    )
    options = parser.parse_args()
    ensemble = Ensemble.open(options.bundle, threads=1)
    places = unlearnt(ensemble.bundle.card)
    checksums = network_checksums(ensemble.bundle)
    kept, features = [], []
    for knee in held_out(options.bundle, index(options.data)):
        try:
            [reading] = ensemble.read(knee.image)
        except (NotAKneeFilm, ValueError) as refusal:
            print(f"left out: {refusal}")
            continue
        kept.append(knee)
        features.append(tuple(reading.features[at] for at in places))
        if len(kept) % 100 == 0:
            print(f"{len(kept)} knees", flush=True)
    every = np.stack([joined(parts) for parts in features]).astype(np.float64)
    centre, axes = principal_axes(every, options.axes)
    similar = SimilarKnees(
        source=SOURCE,
        networks=[checksums[at] for at in places],
        files=[knee.image.stem for knee in kept],
        grades=np.array([int(knee.grade) for knee in kept if knee.grade is not None]),
        centre=centre,
        axes=axes,
        codes=(every - centre) @ axes,
        pictures=[small(knee) for knee in kept],
    )
    similar.write(options.output)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    spread = np.var(every - centre, axis=0).sum()
    share = np.var((every - centre) @ axes, axis=0).sum() / spread
    print(f"{len(kept)} knees, {size / 1e6:.1f} MB, {share:.0%} of the variance")
    agreement(similar, kept, features)


def agreement(
    index: SimilarKnees, kept: list[Knee], features: list[tuple[np.ndarray, ...]]
) -> None:
    """Print how the six nearest of other patients are graded."""
    same = near = 0
    for knee, parts in zip(kept, features, strict=True):
        own = knee.patient
        others = index.nearest(parts, 6, lambda patient, own=own: patient == own)
        apart = [abs(int(other.grade) - int(knee.grade or 0)) for other in others]
        same += sum(one == 0 for one in apart)
        near += sum(one <= 1 for one in apart)
    total = 6 * len(kept)
    print(f"of the six nearest of other patients {same / total:.1%} have the knee's own grade,")
    print(f"{near / total:.1%} have it or a neighbouring one")


if __name__ == "__main__":
    main()
