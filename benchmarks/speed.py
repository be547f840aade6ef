"""What a knee costs: the paper's path, the same eight networks as a bundle, and our bundles.

    python benchmarks/speed.py --data kneeKL299 [--fast-bundle BUNDLE] [--knees 8] [--only NAME ...]

`paper` is the procedure of Pi et al. 2023 as its authors ran it: eight networks of torchvision in
eager float32, one picture at a time, both looks, and the class map of each network by
back-propagation from the logit through the network (what the grad-cam package does). Rows `eight`
are the same networks as a bundle: by each engine and number format, both looks, maps from the
features. Rows `default` and `fast` read whole pictures with finding and checking, as `kellgren
grade --joint-space off` does; `checks` is what of this comes before the networks that grade, and
`joint space` what measuring it adds. Every row runs in a process of its own with one thread.

The weights of the eight cannot be had. Their bodies are random here, with normalisations measured
on `--learnt` knees, and only their linear heads are fitted, on the same knees. Such networks cost
what trained ones cost; but their opinions lie closer together than those of trained networks, so a
small change of a feature turns a grade more often. The agreement in rows `eight` is that of these
stand-ins: it shows that the file computes the network, not how trained networks would fare.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from PIL import Image
from torch import Tensor, nn

from kellgren import Ensemble
from kellgren.data.manifest import Knee, index
from kellgren.explanation.cam import ensemble_maps
from kellgren.grades import Grade
from kellgren.grading.bundle import default_bundle, fast_bundle, open_bundle, write_bundle
from kellgren.grading.card import FORMAT, Card, MemberCard, TrainingData
from kellgren.grading.combiner import Combiner
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.panel import Panel
from kellgren.grading.preprocess import Preprocess
from kellgren.imaging.radiograph import read_radiograph
from kellgren.joint_space.measure_knee import measure
from kellgren.localisation.crop import whole_knee
from kellgren.localisation.film import find_joints
from kellgren.localisation.knee_detector import Localiser
from kellgren.training.architectures import Member
from kellgren.training.architectures.registry import find
from kellgren.training.export.int8_arithmetic import Quantiser
from kellgren.training.export.onnx_export import export

EIGHT = (
    *("densenet161", "efficientnet_b5", "efficientnet_v2_s", "regnet_y_8gf", "resnet101"),
    *("resnext50_32x4d", "wide_resnet50_2", "shufflenet_v2_x2_0"),
)
ENGINES = (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
RIDGE = 1e-2
DIRECTIONS = 6
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


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
    parser.add_argument("--learnt", type=int, default=48, help="that heads are fitted on")
    parser.add_argument("--networks", nargs="+", default=EIGHT, choices=EIGHT)
    parser.add_argument("--only", nargs="*", default=(), help="parts of the names of rows")
    parser.add_argument("--fast-bundle", type=Path)
    parser.add_argument("--judge-paper", action="store_true", help="all judged knees by torch too")
    parser.add_argument("--work", type=Path, help="keep the stand-ins here for another run")
    return parser.parse_args()


def ways(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, Callable[..., Row]]]:
    """Names of rows, and what makes each."""
    yield "paper", Paper(folder / "torch", options.networks)
    for engine, precision in ENGINES:
        yield f"eight {engine} {precision}", Eight(folder / "fp32", engine, precision)
    for engine in ("onnxruntime", "openvino"):
        yield f"eight {engine} int8", Eight(folder / "int8", engine, "fp32")
    yield "checks", Beside(joint_space=False)
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
        networks = [
            (torch.load(self.folder / f"{name}.pt", weights_only=False), sees(name))
            for name in self.networks
        ]

        def vote(knee: Knee) -> np.ndarray:
            looks = [both_looks(knee, preprocess) for _, preprocess in networks]
            with torch.no_grad():
                logits = [
                    (network(look[:1]) + network(look[1:])) / 2
                    for (network, _), look in zip(networks, looks, strict=True)
                ]
            return np.asarray(torch.stack(logits).softmax(2).mean(0)[0].numpy())

        def maps(knee: Knee, grade: int) -> list[Tensor]:
            return [grad_cam(network, both_looks(knee, p)[:1], grade) for network, p in networks]

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
    """What a knee costs beside its networks."""

    joint_space: bool

    def __call__(self, knees: Sequence[Knee], timed: int) -> Row:
        localiser = Localiser()
        spent = wall = 0.0
        for number, knee in enumerate(knees[: timed + 1]):
            began, clock = time.process_time(), time.perf_counter()
            joints = find_joints(read_radiograph(knee.image), (), localiser)
            if self.joint_space:
                began, clock = time.process_time(), time.perf_counter()
                for joint in joints:
                    measure(joint.crop)
            if number:  # the first is not counted
                spent += time.process_time() - began
                wall += time.perf_counter() - clock
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        count = min(timed, len(knees) - 1)
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
    """Lay down the stand-ins: for torch, as a bundle, and as a bundle in int8."""
    if (folder / "int8").exists():
        return
    (folder / "torch").mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, Path]] = {"fp32": {}, "int8": {}}
    with TemporaryDirectory() as temporary:
        for name in names:
            began = time.process_time()
            network, share = stand_in(name, knees)
            torch.save(network, folder / "torch" / f"{name}.pt")
            for kind, made in members(name, network, knees, Path(temporary)):
                files[kind] |= {path.name.replace(f"{kind}-", ""): path for path in made}
            took = time.process_time() - began
            print(f"made {name}: {share:.0%} of the knees fitted, {took:.0f} s", flush=True)
        for kind, of_it in files.items():
            write_bundle(card(kind, names), of_it, folder / kind)


def stand_in(name: str, knees: Sequence[Knee]) -> tuple[Member, float]:
    """A network with a random body and a fitted head; the share of its knees it grades right."""
    torch.manual_seed(0)
    network = find(name).build(5).eval()
    images = torch.cat([both_looks(knee, sees(name))[:1] for knee in knees])
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.train()
        layer.momentum = None  # the mean over all batches
    with torch.no_grad():
        for start in range(0, len(images), 8):
            network.features(images[start : start + 8])
        for layer in layers:
            layer.eval()
        pooled = torch.cat([network.features(image[None]).mean((2, 3)) for image in images])
    right = fit_head(network.head, pooled, torch.tensor([int(knee.grade or 0) for knee in knees]))
    return network, right


def fit_head(head: nn.Linear, pooled: Tensor, grades: Tensor) -> float:
    """Fit a linear layer to grades; the share it grades right.

    It weighs the few directions in which the features of knees differ most, as a trained network's
    head does. All directions together would let it read grades out of noise.
    """
    mean = pooled.mean(0)
    _, spread, directions = torch.linalg.svd(pooled - mean, full_matrices=False)
    basis = directions[:DIRECTIONS].T / (spread[:DIRECTIONS] / len(pooled) ** 0.5)
    seen = (pooled - mean) @ basis
    weight = torch.zeros(5, DIRECTIONS, requires_grad=True)
    bias = torch.zeros(5, requires_grad=True)
    steps = torch.optim.LBFGS([weight, bias], max_iter=60)

    def loss() -> Tensor:
        steps.zero_grad()
        missed = nn.functional.cross_entropy(seen @ weight.T + bias, grades)
        value: Tensor = missed + RIDGE * (weight**2).sum()
        value.backward()
        return value

    steps.step(loss)
    with torch.no_grad():
        head.weight.copy_(weight @ basis.T)
        head.bias.copy_(bias - head.weight @ mean)
        return float(((pooled @ head.weight.T + head.bias).argmax(1) == grades).float().mean())


def members(
    name: str, network: Member, knees: Sequence[Knee], folder: Path
) -> Iterator[tuple[str, list[Path]]]:
    """The network's files in float32 and in int8."""
    plain = folder / f"fp32-{name}.onnx"
    export(network, sees(name).size, plain)
    images = torch.cat([both_looks(knee, sees(name)) for knee in knees[:8]]).numpy()
    onnx.save_model(
        Quantiser(onnx.load(plain), images, compensated=False).quantised(),
        folder / f"int8-{name}.onnx",
    )
    for kind in ("fp32", "int8"):
        head = folder / f"{kind}-{name}.head.npz"
        weight, bias = (part.detach().numpy() for part in (network.head.weight, network.head.bias))
        np.savez(head, weight=weight, bias=bias)
        yield kind, [folder / f"{kind}-{name}.onnx", head]


def card(kind: str, names: Sequence[str]) -> Card:
    """Of a bundle of stand-ins, which vote alike."""
    data = TrainingData(
        **dict.fromkeys(("name", "licence", "credit", "folds_hash"), "stand-ins"),
        **dict.fromkeys(("knees", "patients", "folds"), 0),
    )
    told = {
        member: MemberCard(
            **dict.fromkeys(("name", "backbone", "architecture"), member),
            model=f"{member}.onnx",
            head=f"{member}.head.npz",
            preprocess=sees(member),
            recipe={},
            recipe_hash="0",
            started_from="chance",
            trained_folds=(),
        )
        for member in names
    }
    return Card(
        format=FORMAT,
        name=f"eight-{kind}",
        version="0",
        grades=tuple(grade.label for grade in Grade),
        scale="none",
        members=tuple(told.values()),
        combiner=Combiner(members=tuple(names), weights=(1 / len(names),) * len(names)),
        data=data,
        out_of_fold={},
        versions={},
        files={},
        intended_use="timing only",
    )


def sees(name: str) -> Preprocess:
    """What a network is given: no mirroring of left knees, no levelling, as in the paper."""
    known = find(name)
    return Preprocess(size=known.input_size, mean=known.mean, std=known.std, mirror_left=False)


def both_looks(knee: Knee, preprocess: Preprocess) -> Tensor:
    """``(2, 3, S, S)`` a knee and its mirror image, opened and resized as the paper does."""
    size = (preprocess.size, preprocess.size)
    with Image.open(knee.image) as picture:
        grey = np.asarray(picture.convert("L").resize(size, Image.Resampling.BICUBIC), np.float32)
    plane = torch.from_numpy(preprocess.normalise(grey[None] / 255))
    return torch.cat([plane, plane.flip(3)]).float()


def grad_cam(network: Member, image: Tensor, grade: int) -> Tensor:
    """``(h, w)`` Grad-CAM of the last features, back through the network as its package does."""
    network.zero_grad()
    features = network.unactivated(image)
    features.retain_grad()
    network.classify(network.activated(features))[0, grade].backward()
    assert features.grad is not None
    weights = features.grad.mean((2, 3), keepdim=True)
    return (weights * features).sum(1)[0].relu().detach()


def processor() -> str:
    """Its name and what it computes with, as the system says."""
    text = Path("/proc/cpuinfo").read_text("utf-8") if os.path.exists("/proc/cpuinfo") else ""
    facts = {
        key: re.search(rf"^{key}\s*: (.*)$", text, re.M)
        for key in ("model name", "cpu family", "model", "flags")
    }
    said = {key: found.group(1) if found else "?" for key, found in facts.items()}
    flags = " ".join(flag for flag in FLAGS if flag in said["flags"].split())
    return f"{said['model name']}, family {said['cpu family']}, model {said['model']}, {flags}"


if __name__ == "__main__":
    main()
