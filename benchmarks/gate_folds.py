"""How many real knees the picture gate refuses and warns of, by gates that never saw them.

    python benchmarks/gate_folds.py --data kneeKL299 --frames frames --cache FOLDER

For each of five folds a gate is made as the package's is: its network is the same, which no knee
was learnt with; what rests on the network learns from knees of three other folds and takes its
limits from the fourth (`make_picture_gate.py`, decision 21). Each knee is judged by the gate of its
own fold, beside the other checks, so all that are published are judged and none by a gate that
learnt from it or from its patient. Features of all knees and the drawn examples are kept in
``--cache``; a run that was stopped goes on there. Needs the train extra.
"""

from __future__ import annotations

import argparse
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from films import BOXES

from kellgren.data.manifest import Knee, for_training, index
from kellgren.data.splits import make_folds
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.picture_gate import NETWORK, FeatureNetwork, default_folder
from kellgren.localisation.quality import check_implant
from kellgren.training.gate_making.examples import WITH_IMPLANT, draw_examples
from kellgren.training.gate_making.feature_network import SIZE

GATE = {"picture", "implant", "growth_plates"}
CHUNK = 100
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One joint of a published knee, as the gate is shown it.

    Attributes:
        knee: number of it among the published ones.
        features: ``(C, GRID, GRID)`` float16.
        corrected: whether the picture was turned or inverted.
        white: whether white areas look like metal.
        refused: names of the other checks that refuse it.
        warned: names of the other checks that warn of it.
    """

    knee: int
    features: np.ndarray
    corrected: bool
    white: bool
    refused: tuple[str, ...]
    warned: tuple[str, ...]


def joint(number: int, found: DetectedKnee, network: FeatureNetwork) -> Seen:
    others = [check for check in found.checks if check.name not in GATE]
    return Seen(
        number,
        network.features(found.crop.pixels).astype(np.float16),
        any(c.name == "inversion" and c.verdict == "warning" for c in others)
        or any(c.name == "view" and "turned" in c.evidence for c in others),
        check_implant(found.crop.pixels).verdict != "passed",
        tuple(check.name for check in others if check.verdict == "refused"),
        tuple(check.name for check in others if check.verdict == "warning"),
    )


def all_seen(knees: Sequence[Knee], network: FeatureNetwork, cache: Path) -> Iterator[Seen]:
    """Every joint of every knee, kept in the cache by hundreds of knees."""
    localiser = Localiser()
    cache.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(knees), CHUNK):
        kept = cache / f"seen_{start:05}.pkl"
        if not kept.is_file():
            numbers = range(start, min(start + CHUNK, len(knees)))
            seen = [
                joint(number, found, network)
                for number in numbers
                for found in find_knees(
                    read_radiograph(knees[number].image), (), localiser, force=True
                )
            ]
            keep(kept, seen)
        yield from pickle.loads(kept.read_bytes())


def drawn(
    knees: Sequence[Knee], fold: int, network: FeatureNetwork, cache: Path
) -> list[list[object]]:
    """What is drawn on knees of one fold, for the gates of the folds that learn from it."""
    kept = cache / f"drawn_{fold}_{len(knees)}.pkl"
    if not kept.is_file():
        rng = np.random.default_rng(42 + fold)
        keep(kept, draw_examples(knees, network, Localiser(), rng, lambda done: None))
    return pickle.loads(kept.read_bytes())


def keep(path: Path, content: object) -> None:
    draft = path.with_suffix(".draft")
    draft.write_bytes(pickle.dumps(content))
    draft.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--drawn", type=int, default=200, help="knees of each fold to draw on")
    o = parser.parse_args()
    network = FeatureNetwork((default_folder() / NETWORK).read_bytes(), SIZE)
    knees = for_training(index(o.data), o.data)
    folds = make_folds(list(knees))
    fold_of = np.array([folds.held_out(knees, f) for f in range(FOLDS)]).argmax(axis=0)
    for fold in range(FOLDS):
        of = [k for k, f in zip(knees, fold_of) if f == fold and k.image.stem not in WITH_IMPLANT]
        order = np.random.default_rng(42).permutation(len(of))[: o.drawn]
        print("drawn", fold, len(drawn([of[n] for n in order], fold, network, o.cache)), flush=True)
    n = 0
    for s in all_seen(knees, network, o.cache):
        n += 1
        if n % 500 == 0:
            print(n, flush=True)


if __name__ == "__main__":
    main()
