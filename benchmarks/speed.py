"""What a knee costs: the paper's path, the same eight networks as a bundle, and our bundles.

    python benchmarks/speed.py --data kneeKL299 [--fast-bundle BUNDLE] [--knees 8] [--only NAME ...]

`paper` is the procedure of Pi et al. 2023 as its authors ran it: eight networks of torchvision in
eager float32, one picture at a time, both looks, and the class map of each network by
back-propagation from the logit through the network (what the grad-cam package does). Rows `eight`
are the same networks as a bundle: by each engine and number format, both looks, maps from the
features. Rows `default` and `fast` read whole pictures with finding and checking, as `kellgren
grade --joint-space off` does; `checks` is what of this comes before the networks that grade,
`checks of films` the same for the pictures of a folder, and `joint space` what measuring it adds.
Every row runs in a process of its own with one thread.

The weights of the eight cannot be had: `stand_ins.py` makes networks that cost the same.
`eight_votes.py` measures them one by one, and how many votes each arithmetic keeps.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import stand_ins
import torch
from eight_votes import eager, grad_cam, processor
from stand_ins import EIGHT
from torch import Tensor

from kellgren import Ensemble
from kellgren.data.manifest import Knee, index
from kellgren.explanation.cam import ensemble_maps
from kellgren.grading.bundle import default_bundle, fast_bundle, open_bundle
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.panel import Panel
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.imaging.search import search
from kellgren.joint_space.measure_knee import measure
from kellgren.localisation.crop import whole_knee
from kellgren.localisation.film import find_joints
from kellgren.localisation.knee_detector import Localiser

ENGINES = (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))


class Row(NamedTuple):
    """What one way of grading costs: seconds a knee, and its votes."""

    processor: float
    wall: float
    megabytes: float
    votes: np.ndarray  # (N, 5) of the judged knees; none where nothing is graded
    predicting: float  # processor seconds a knee without maps; 0: not told apart


def main() -> None:
    """Make the stand-ins, run every row, print the table."""
    options = arguments()
    torch.set_num_threads(1)
    knees = [knee for knee in index(options.data) if knee.grade is not None]
    order = np.random.default_rng(0).permutation(len(knees))
    learnt = [knees[at] for at in order[: options.learnt]]
    judged = [knees[at] for at in order[options.learnt :][: max(options.judged, options.knees)]]
    print(
        f"processor: {processor()}; one thread; {options.knees} knees timed, {len(judged)} judged"
    )
    with TemporaryDirectory() as temporary:
        folder = options.work or Path(temporary)
        chosen = {
            name: work
            for name, work in ways(folder, options)
            if not options.only or any(part in name for part in options.only)
        }
        if any(name.startswith(("paper", "eight")) for name in chosen):
            make(folder, options.networks, learnt)
        rows: dict[str, Row] = {}
        for name, work in chosen.items():
            count = options.knees if name == "paper" and not options.judge_paper else len(judged)
            rows[name] = apart(work, judged[:count], options.knees)
            show(name, rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--knees", type=int, default=8, help="timed")
    parser.add_argument("--judged", type=int, default=200, help="whose votes are compared")
    parser.add_argument("--learnt", type=int, default=80, help="that heads are fitted on")
    parser.add_argument("--networks", nargs="+", default=EIGHT, choices=EIGHT)
    parser.add_argument("--only", nargs="*", default=(), help="parts of the names of rows")
    parser.add_argument("--fast-bundle", type=Path)
    parser.add_argument("--films", type=Path, help="a folder of them, for the row of their checks")
    parser.add_argument("--judge-paper", action="store_true", help="all judged knees by torch too")
    parser.add_argument("--work", type=Path, help="keep the stand-ins here for another run")
    return parser.parse_args()


def ways(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, Callable[..., Row]]]:
    """Names of rows, and what makes each."""
    yield "paper", Paper(folder, options.networks)
    for engine, precision in ENGINES:
        yield f"eight {engine} {precision}", Eight(folder / "fp32", engine, precision)
    for engine in ("onnxruntime", "openvino"):
        yield f"eight {engine} int8", Eight(folder / "int8", engine, "fp32")
    yield "checks", Beside(joint_space=False)
    if options.films:
        films = tuple(search(options.films).images)
        yield "checks of films", Beside(joint_space=False, films=films)
    yield "joint space", Beside(joint_space=True)
    bundles = {"default": default_bundle(), "fast": options.fast_bundle or fast_bundle()}
    for name, bundle in bundles.items():
        for mirror in (True, False):
            looks = "two looks" if mirror else "one look"
            for engine, precision in ENGINES:
                yield (
                    f"{name} {engine} {precision} {looks}",
                    Whole(bundle, engine, precision, mirror),
                )


class Paper(NamedTuple):
    """The eight in PyTorch."""

    folder: Path
    networks: Sequence[str]

    def __call__(self, knees: Sequence[Knee], timed: int) -> Row:
        torch.set_num_threads(1)
        networks = {
            name: torch.load(self.folder / f"{name}.pt", weights_only=False)
            for name in self.networks
        }

        def vote(knee: Knee) -> np.ndarray:
            logits = [eager(network, name, knee) for name, network in networks.items()]
            return np.asarray(softmax(np.stack(logits)).mean(0))

        def maps(knee: Knee, grade: int) -> list[Tensor]:
            return [
                grad_cam(network, stand_ins.inputs(name, [knee]), grade)
                for name, network in networks.items()
            ]

        return measured(vote, maps, knees, timed)


class Eight(NamedTuple):
    """The eight as a bundle."""

    folder: Path
    engine: Any
    precision: Any

    def __call__(self, knees: Sequence[Knee], timed: int) -> Row:
        bundle = open_bundle(self.folder)
        panel = Panel(
            bundle, EngineSettings(engine=self.engine, precision=self.precision, threads=1)
        )

        def vote(knee: Knee) -> np.ndarray:
            seen = panel.examine(whole_knee(read_radiograph(knee.image), knee.side))
            ensemble_maps(seen.outputs, seen.map_weights)  # of all five grades
            return seen.probabilities

        return measured(vote, None, knees, timed)


class Whole(NamedTuple):
    """One of our bundles, from the file to the reading with its maps."""

    bundle: Path
    engine: Any
    precision: Any
    mirror: bool

    def __call__(self, knees: Sequence[Knee], timed: int) -> Row:
        ensemble = Ensemble.open(
            self.bundle,
            engine=self.engine,
            precision=self.precision,
            threads=1,
            mirror=self.mirror,
            joint_space=False,
        )

        def vote(knee: Knee) -> np.ndarray:
            film = ensemble.read(knee.image, knee.side, force=True)
            return np.asarray(film[0].probabilities)

        return measured(vote, None, knees, timed)


class Beside(NamedTuple):
    """What a knee costs beside its networks, or a film."""

    joint_space: bool
    films: Sequence[Path] = ()

    def __call__(self, knees: Sequence[Knee], timed: int) -> Row:
        localiser = Localiser()
        spent = wall = 0.0
        images = [*(self.films or (knee.image for knee in knees))][: timed + 1]
        for number, image in enumerate(images):
            began, clock = time.process_time(), time.perf_counter()
            joints = find_joints(read_radiograph(image), (), localiser)
            if self.joint_space:
                began, clock = time.process_time(), time.perf_counter()
                for joint in joints:
                    measure(joint.crop)
            if number:  # the first is not counted
                spent += time.process_time() - began
                wall += time.perf_counter() - clock
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        count = len(images) - 1
        return Row(spent / count, wall / count, peak, np.empty((0, 5)), 0.0)


def measured(
    vote: Callable[[Knee], np.ndarray],
    maps: Callable[[Knee, int], object] | None,
    knees: Sequence[Knee],
    timed: int,
) -> Row:
    """Grade knees, the first of them by the clock, after one that is not counted."""
    vote(knees[0])
    votes = []
    began, wall = time.process_time(), time.perf_counter()
    for knee in knees[:timed]:
        votes.append(vote(knee))
    predicting = time.process_time() - began
    if maps is not None:
        for knee, seen in zip(knees, list(votes), strict=False):
            maps(knee, int(seen.argmax()))
    spent, passed = time.process_time() - began, time.perf_counter() - wall
    votes += [vote(knee) for knee in knees[timed:]]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    apart_from_maps = predicting / timed if maps is not None else 0.0
    return Row(spent / timed, passed / timed, peak, np.stack(votes), apart_from_maps)


def apart(work: Callable[..., Row], knees: Sequence[Knee], timed: int) -> Row:
    """Run in a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (knees, timed))


def show(name: str, rows: dict[str, Row]) -> None:
    """Print a row with its ratio to the paper's path, and how its votes agree."""
    row = rows[name]
    if not row.votes.size:
        clock, spent = f"{1000 * row.wall:7.1f}", f"{1000 * row.processor:8.1f}"
        print(f"{name:<38} {clock} ms by the clock {spent} ms of processor", flush=True)
        return
    kind = name.split()[0]
    reference = next(other for key, other in rows.items() if key.split()[0] == kind)
    count = min(len(row.votes), len(reference.votes))
    same = row.votes[:count].argmax(1) == reference.votes[:count].argmax(1)
    shift = np.abs(row.votes[:count] - reference.votes[:count]).max()
    paper = rows.get("paper")
    ratio = f"1/{paper.processor / row.processor:.1f}" if paper else ""
    without = f" ({1000 * row.predicting:.0f} ms without maps)" if row.predicting else ""
    if kind == "eight" and paper:
        agreed = (row.votes[: len(paper.votes)].argmax(1) == paper.votes[:count].argmax(1)).mean()
        without = f", {agreed:.1%} as paper on {len(paper.votes)}"
    print(
        f"{name:<38} {1 / row.wall:7.2f} knees/s {1000 * row.processor:8.1f} ms of processor"
        f" {ratio:>7} {row.megabytes:7.0f} MB  same grade {same.mean():.2%} of {count}"
        f" (|dp| {shift:.3f}){without}",
        flush=True,
    )


def make(folder: Path, names: Sequence[str], knees: Sequence[Knee]) -> None:
    """Lay down the stand-ins and the bundles of them, in float32 and in int8."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        stand_ins.make(name, knees, folder)
        stand_ins.fit(name, knees, folder)
    for kind, file in (("fp32", "{}.onnx"), ("int8", "{}.int8.onnx")):
        if not (folder / kind).exists():
            models = {name: folder / file.format(name) for name in names}
            stand_ins.bundle(models, folder / kind, f"eight-{kind}")


if __name__ == "__main__":
    main()
