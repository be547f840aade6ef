"""How many real knees the picture gate refuses and warns of, by gates that never saw them.

    python benchmarks/gate_folds.py --data kneeKL299 --frames frames --cache FOLDER

For each of five folds a gate is made as the package's is: its network is the same, which no knee
was learnt with; what rests on the network learns from knees of three other folds and takes its
limits from the fourth (`make_picture_gate.py`, decision 21). Each knee is judged by the gate of its
own fold, beside the other checks, so all that are published are judged and none by a gate that
learnt from it or from its patient. Features of all knees and what is drawn are kept in ``--cache``;
a run that was stopped goes on there. About fifteen minutes on one core. Needs the train extra.
"""

from __future__ import annotations

import argparse
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from films import BOXES

from kellgren.data.manifest import Knee, for_training, index
from kellgren.data.splits import make_folds
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.check import Check
from kellgren.localisation.film import DetectedKnee, find_knees
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.picture_checks import check_growth_plates, check_metal, check_picture
from kellgren.localisation.picture_gate import NETWORK, FeatureNetwork, Limits, default_folder
from kellgren.localisation.picture_scores import GateWeights
from kellgren.localisation.quality import check_implant
from kellgren.training.gate_making.build import LIMIT_KNEES, limits_by_use
from kellgren.training.gate_making.examples import (
    WITH_IMPLANT,
    Example,
    draw_examples,
    frame_examples,
    frame_knees,
)
from kellgren.training.gate_making.feature_network import SIZE
from kellgren.training.gate_making.fit import fit_weights
from kellgren.training.knee_detector.run import load_frames

GATE = {"picture", "implant", "growth_plates"}
CHUNK, FOLDS, SEED = 100, 5, 42


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


@dataclass(frozen=True, slots=True, eq=False)
class FoldGate:
    """What a gate knows, by the names of `GateCard`."""

    weights: GateWeights
    limits: dict[str, Limits]

    def verdicts(self, seen: Seen) -> list[tuple[str, str]]:
        """Name and verdict of each of the gate's checks."""
        scores = self.weights.scores(seen.features.astype(np.float32))
        limits = self.limits["corrected" if seen.corrected else "upright"]
        warned = self.limits["warned"]
        white = Check("implant", "warning" if seen.white else "passed", "white areas")
        checks = (
            check_picture(scores, limits),
            check_metal(scores, limits, warned, white),
            check_growth_plates(scores, limits, warned),
        )
        return [(check.name, check.verdict) for check in checks]


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What the cache holds; made and kept where it does not."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_bytes(pickle.dumps(make()))
        draft.replace(path)
    return pickle.loads(path.read_bytes())


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
    """Every joint of every knee, kept by hundreds of knees."""
    localiser = Localiser()

    def of(start: int) -> list[Seen]:
        return [
            joint(number, found, network)
            for number in range(start, min(start + CHUNK, len(knees)))
            for found in find_knees(read_radiograph(knees[number].image), (), localiser, force=True)
        ]

    for start in range(0, len(knees), CHUNK):
        yield from kept(cache / f"seen_{start:05}.pkl", lambda start=start: of(start))


def drawn(knees: Sequence[Knee], fold: int, network: FeatureNetwork, cache: Path) -> list[Example]:
    """What is drawn on knees of one fold, for the gates of the folds that learn from it."""

    def examples() -> list[Example]:
        rng = np.random.default_rng(SEED + fold)
        return draw_examples(knees, network, Localiser(), rng, lambda done: None)

    return kept(cache / f"drawn_{fold}_{len(knees)}.pkl", examples)


def weights_of(fold: int, drawings: Sequence[list[Example]], films: list[Example]) -> GateWeights:
    """What the gate that judges ``fold`` learnt from three other folds, as it is stored."""
    others = [drawings[(fold + step) % FOLDS] for step in (2, 3, 4)]
    weights = fit_weights([*(e for part in others for e in part), *films], SEED)
    return GateWeights.parsed(weights.content())


def gate_of(weights: GateWeights, native: Sequence[Seen], knees: Sequence[np.ndarray]) -> FoldGate:
    """The gate with its limits, from native knees of the next fold and of the real films."""
    order = np.random.default_rng(SEED).permutation(len(native))[:LIMIT_KNEES]
    crops = [weights.scores(native[n].features.astype(np.float32)) for n in order]
    return FoldGate(weights, limits_by_use(crops, [weights.scores(k) for k in knees]))


def judged(seen: Sequence[Seen], gate: FoldGate) -> Counter[str]:
    """How many knees are refused, and warned of, and by which checks; by their best joint."""
    count = Counter[str]()
    knees: dict[int, list[Seen]] = {}
    for one in seen:
        knees.setdefault(one.knee, []).append(one)
    for joints in knees.values():
        against = []
        for one in joints:
            verdicts = gate.verdicts(one)
            refused = {*one.refused, *(name for name, verdict in verdicts if verdict == "refused")}
            warned = {*one.warned, *(name for name, verdict in verdicts if verdict == "warning")}
            against.append((refused, warned))
        refused, warned = min(against, key=lambda both: (len(both[0]), len(both[1])))
        count["judged"] += 1
        count["refused"] += bool(refused)
        count["refused by the gate"] += bool(refused & GATE)
        count["warned of"] += bool(warned) and not refused
        count.update(f"refused: {name}" for name in refused)
        count.update(f"warned of: {name}" for name in warned if not refused)
    return count


def told(name: str, count: Counter[str]) -> None:
    of = max(count["judged"], 1)
    main = ("refused", "refused by the gate", "warned of")
    shares = ", ".join(f"{word} {count[word]} ({count[word] / of:.2%})" for word in main)
    reasons = {word: number for word, number in sorted(count.items()) if ":" in word}
    print(f"{name:<28} judged {count['judged']:>5}: {shares}; {reasons}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--drawn", type=int, default=200, help="knees of each fold to draw on")
    options = parser.parse_args()
    network = FeatureNetwork((default_folder() / NETWORK).read_bytes(), SIZE)
    knees = for_training(index(options.data), options.data)
    folds = make_folds(list(knees))
    fold_of = np.array([folds.held_out(knees, f) for f in range(FOLDS)]).argmax(axis=0)
    with_metal = {n for n, knee in enumerate(knees) if knee.image.stem in WITH_IMPLANT}
    drawings = []
    for fold in range(FOLDS):
        native = [k for n, k in enumerate(knees) if fold_of[n] == fold and n not in with_metal]
        order = np.random.default_rng(SEED).permutation(len(native))[: options.drawn]
        drawings.append(drawn([native[n] for n in order], fold, network, options.cache))

    def of_frames() -> tuple[list[Example], list[np.ndarray]]:
        films = load_frames(options.frames, BOXES)
        examples = frame_examples(films, network, np.random.default_rng(SEED))
        return examples, [network.features(knee) for knee in frame_knees(films)]

    examples, of_films = kept(options.cache / "frames.pkl", of_frames)
    weights = [
        kept(options.cache / f"w_{f}.pkl", lambda f=f: weights_of(f, drawings, examples))
        for f in range(FOLDS)
    ]
    seen = list(all_seen(knees, network, options.cache))
    native = {
        f: [s for s in seen if fold_of[s.knee] == f and s.knee not in with_metal]
        for f in range(FOLDS)
    }
    total, metal = Counter[str](), Counter[str]()
    for fold in range(FOLDS):
        gate = gate_of(weights[fold], native[(fold + 1) % FOLDS], of_films)
        count = judged(native[fold], gate)
        told(f"fold {fold}, native knees", count)
        total += count
        own = [s for s in seen if fold_of[s.knee] == fold and s.knee in with_metal]
        metal += judged(own, gate)
    told("all native knees", total)
    told("with metal, seen by eye", metal)
    told("all", total + metal)


if __name__ == "__main__":
    main()
