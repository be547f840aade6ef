"""The eight networks of Pi et al. 2023: what the paper's path costs, and what a bundle of them.

    python benchmarks/eight_votes.py --data kneeKL299 --work FOLDER [--networks NAME ...]

The paper's path: PyTorch in eager float32, one picture at a time, both looks at it, and the class
map of each network by back-propagation from the logit (as the grad-cam package does). Beside it
the same network as a member of a bundle, by engine and number format, with the maps of all five
grades. Network by network, each in a process of its own with one thread: first the ways in turn on
each of the timed knees, so that what else the machine does falls on all alike; then the mean
features of each way on other knees. From these and the heads the votes of the eight follow, and of
an arithmetic chosen for each network, on knees that do not judge it.

Everything is kept in FOLDER and a run that was stopped goes on there. The stand-ins are made there
first (`stand_ins.py`). What is there already is printed at the end, whole or not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import torch
from stand_ins import EIGHT, TRAINED, both_looks, fit, inputs, make, out_of_fold, sees
from torch import Tensor

from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee, index
from kellgren.evaluation.beta import wilson
from kellgren.explanation.cam import ensemble_maps
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.engines.processor import computes_in_bf16
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.training.architectures import Member

REFERENCE = "ONNX Runtime fp32"


class Way(NamedTuple):
    """How a member of the bundle is computed: by which engine, in what, and from which file."""

    engine: Any
    precision: Any
    file: str


def ways_here() -> dict[str, Way]:
    """Those that this processor has."""
    there = {
        REFERENCE: Way("onnxruntime", "fp32", "{}.onnx"),
        "OpenVINO fp32": Way("openvino", "fp32", "{}.onnx"),
        "OpenVINO bf16": Way("openvino", "bf16", "{}.onnx"),
        "ONNX Runtime int8": Way("onnxruntime", "fp32", "{}.int8.onnx"),
        "OpenVINO int8": Way("openvino", "bf16", "{}.int8.onnx"),  # what int8 leaves: in bf16
    }
    if computes_in_bf16() is False:
        del there["OpenVINO bf16"]
        there["OpenVINO int8"] = there["OpenVINO int8"]._replace(precision="fp32")
    return there


WAYS = ways_here()
CHOICES = tuple(way for way in WAYS if way != "OpenVINO fp32")
PAPER, PREDICTED, OPENED = "paper", "paper, without maps", "opened"
PARTS = (0, 160, 1000)  # where the knees that heads learn from begin, the judging, the choosing
CHUNK = 20  # knees, after which votes are written down
ENOUGH = 0.995
AIM = 0.997  # of real margins on the choosing knees: other knees judge a choice a little worse
NEAR = (0.01, 0.02, 0.05, 0.1, 0.2)
LIKENESS = (*TRAINED, *(name.removeprefix("trained ") for name in TRAINED))
"""Trained networks and stand-ins for them, which show what stand-ins are worth."""
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
REAL = ("inception-288", "lite2-256", "shufflenet_v2_x2_0-160", "ensemble")


class Deal(NamedTuple):
    """Knees for each purpose, none for two."""

    learnt: list[Knee]
    judged: list[Knee]
    chosen: list[Knee]


def main() -> None:
    """Make what is missing, network by network, then print what is there."""
    options = arguments()
    deal = dealt(options)
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.show:
        for stage in STAGES:
            for name in options.networks:
                apart(stage, options, deal, name)
    show(options.work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="keeps everything made")
    parser.add_argument("--networks", nargs="+", default=[*LIKENESS, *EIGHT])
    parser.add_argument("--learnt", type=int, default=80, help="that heads are fitted on")
    parser.add_argument("--timed", type=int, default=3, help="of the judged knees")
    parser.add_argument("--judged", type=int, default=200, help="whose votes are compared")
    parser.add_argument("--chosen", type=int, default=100, help="that choose the arithmetic")
    parser.add_argument("--eager", type=int, default=20, help="judged by PyTorch too")
    parser.add_argument("--show", action="store_true", help="only print what is there")
    return parser.parse_args()


def dealt(options: argparse.Namespace) -> Deal:
    """One knee of each patient at random, by a fixed seed; each part begins at a fixed place.

    So a run that asks for more knees than the one before goes on with the same ones.
    """
    knees = [knee for knee in index(options.data) if knee.grade is not None]
    order = np.random.default_rng(0).permutation(len(knees))
    shuffled = list({knees[at].patient: knees[at] for at in order}.values())
    counts = (options.learnt, options.judged, options.chosen)
    return Deal(
        *(
            shuffled[start : min(start + count, end)]
            for start, end, count in zip(PARTS, (*PARTS[1:], len(shuffled)), counts, strict=True)
        )
    )


def apart(work: Callable[..., None], *arguments: object) -> None:
    """Run in a process of its own, so that its memory goes with it; forked, as imports are slow."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(work, arguments)


def measure(options: argparse.Namespace, deal: Deal, name: str) -> None:
    """A network's files and times."""
    torch.set_num_threads(1)
    make(name, deal.learnt, options.work)
    if name in EIGHT and not kept(options.work, name, "times").exists():
        keep(options.work, name, "times", times(options.work, name, deal.judged[: options.timed]))


def fit_head(options: argparse.Namespace, deal: Deal, name: str) -> None:
    """Its head."""
    fit(name, deal.learnt, options.work)


def judge_float(options: argparse.Namespace, deal: Deal, name: str) -> None:
    """Its mean features of the judging knees in floating point; of few in the slowest."""
    torch.set_num_threads(1)
    few = deal.judged[: options.eager]
    if name in EIGHT:
        collect(options.work, name, f"judged {PAPER}", few, eager_means(options.work, name))
    for way in WAYS:
        if "int8" not in way:
            knees = few if way == "OpenVINO fp32" else deal.judged
            opens = member_means(options.work, name, way)
            collect(options.work, name, f"judged {way}", knees, opens)


def judge_int8(options: argparse.Namespace, deal: Deal, name: str) -> None:
    """The same of the same knees in int8."""
    for way in WAYS:
        if "int8" in way:
            opens = member_means(options.work, name, way)
            collect(options.work, name, f"judged {way}", deal.judged, opens)


def choose(options: argparse.Namespace, deal: Deal, name: str) -> None:
    """The same of the choosing knees, where there is a choice."""
    if name not in EIGHT:
        return
    for way in CHOICES:
        opens = member_means(options.work, name, way)
        collect(options.work, name, f"chosen {way}", deal.chosen, opens)


STAGES = (measure, fit_head, judge_float, judge_int8, choose)


def times(work: Path, name: str, knees: Sequence[Knee]) -> dict[str, np.ndarray]:
    """Processor seconds of each way on each knee, the ways in turn; one more is not counted."""
    network = torch.load(work / f"{name}.pt", weights_only=False)
    members = {way: member(work, name, way) for way in WAYS}
    spent: dict[str, list[float]] = {way: [] for way in (PAPER, PREDICTED, OPENED, *WAYS)}
    for knee in (knees[0], *knees):
        began = time.process_time()
        grade = int(eager(network, name, knee).argmax())
        spent[PREDICTED].append(time.process_time() - began)
        grad_cam(network, inputs(name, [knee]), grade)
        spent[PAPER].append(time.process_time() - began)
        began = time.process_time()
        crop = whole_knee(read_radiograph(knee.image), knee.side)
        spent[OPENED].append(time.process_time() - began)
        for way, runtime in members.items():
            began = time.process_time()
            ensemble_maps((runtime.examine(crop),), (1.0,))  # of all five grades
            spent[way].append(time.process_time() - began)
    return {way: np.asarray(of_it[1:]) for way, of_it in spent.items()}


def member(work: Path, name: str, way: str) -> MemberRuntime:
    """The network as a bundle runs it."""
    engine, precision, file = WAYS[way]
    model, head = work / file.format(name), work / f"{name}.head.npz"
    return MemberRuntime(model, head, sees(name), EngineSettings(engine, precision, threads=1))


def member_means(work: Path, name: str, way: str) -> Callable[[], Callable[[Knee], np.ndarray]]:
    """What opens the member, if it is needed."""

    def opens() -> Callable[[Knee], np.ndarray]:
        runtime = member(work, name, way)

        def means(knee: Knee) -> np.ndarray:
            crop = whole_knee(read_radiograph(knee.image), knee.side)
            return np.asarray(runtime.examine(crop).features.mean((1, 2)))

        return means

    return opens


def eager_means(work: Path, name: str) -> Callable[[], Callable[[Knee], np.ndarray]]:
    """What opens the network for PyTorch, if it is needed."""

    def opens() -> Callable[[Knee], np.ndarray]:
        network = torch.load(work / f"{name}.pt", weights_only=False)

        def means(knee: Knee) -> np.ndarray:
            with torch.no_grad():
                looks = [network.features(look[None]) for look in both_looks(inputs(name, [knee]))]
            return np.asarray(torch.cat(looks).mean((0, 2, 3)).numpy())

        return means

    return opens


def eager(network: Member, name: str, knee: Knee) -> np.ndarray:
    """``(5,)`` logits, the mean of both looks, one after the other."""
    looks = both_looks(inputs(name, [knee]))
    with torch.no_grad():
        logits = (network(looks[:1]) + network(looks[1:])) / 2
    return np.asarray(logits[0].numpy())


def grad_cam(network: Member, image: Tensor, grade: int) -> Tensor:
    """``(h, w)`` Grad-CAM of the last features, back through the network as its package does."""
    network.zero_grad()
    features = network.unactivated(image)
    features.retain_grad()
    network.classify(network.activated(features))[0, grade].backward()
    assert features.grad is not None
    weights = features.grad.mean((2, 3), keepdim=True)
    return (weights * features).sum(1)[0].relu().detach()


def collect(
    work: Path,
    name: str,
    what: str,
    knees: Sequence[Knee],
    opens: Callable[[], Callable[[Knee], np.ndarray]],
) -> None:
    """Mean features of the knees that are not there yet, written down after every few."""
    done = list(found(work, name, what).get("means", ()))
    if len(done) >= len(knees):
        return
    means_of = opens()
    began = time.process_time()
    for start in range(len(done), len(knees), CHUNK):
        done += [means_of(knee) for knee in knees[start : start + CHUNK]]
        keep(work, name, what, {"means": np.stack(done)})
    print(f"{name}, {what}: {time.process_time() - began:.0f} s of processor", flush=True)


def kept(work: Path, name: str, what: str) -> Path:
    return work / f"{name}.{what.replace(' ', '-')}.npz"


def keep(work: Path, name: str, what: str, arrays: dict[str, np.ndarray]) -> None:
    with replaced_whole(kept(work, name, what)) as draft, draft.open("wb") as stream:
        np.savez(stream, **arrays)


def found(work: Path, name: str, what: str) -> dict[str, np.ndarray]:
    """What was kept; nothing where nothing was."""
    path = kept(work, name, what)
    return dict(np.load(path)) if path.exists() else {}


def show(work: Path) -> None:
    """Print costs, agreement, the choice for each network, and how decided the votes are."""
    spent = {name: found(work, name, "times") for name in EIGHT}
    seconds = {
        name: {way: float(of_it.mean()) for way, of_it in of_all.items()}
        for name, of_all in spent.items()
        if of_all
    }
    print(f"\nprocessor: {processor()}; one thread; {len(seconds)} of the eight measured")
    for name in LIKENESS:
        show_agreement(work, {way: {name: way} for way in WAYS}, name)
    both = {way: dict.fromkeys(TRAINED, way) for way in WAYS}
    show_agreement(work, both, f"votes of the {len(TRAINED)} trained")
    show_eight_trained(work)
    if not seconds:
        return
    show_costs(seconds)
    for name in seconds:
        show_agreement(work, {way: {name: way} for way in WAYS}, name)
    ways = {way: dict.fromkeys(seconds, way) for way in WAYS}
    choice = chosen(work, seconds)
    if choice:
        print("\nchosen:", ", ".join(f"{name} {way}" for name, way in choice.items()))
        ways["chosen"] = choice
    show_agreement(work, ways, f"\nvotes of {len(seconds)}")
    paper = sum(of_it[PAPER] for of_it in seconds.values())
    for way, of_it in ways.items():
        whole = cost(seconds, of_it)
        print(f"{way}: {1000 * whole:.0f} ms, 1/{paper / whole:.2f} of the paper's path")
    eager_votes = votes(work, "judged", dict.fromkeys(seconds, PAPER))
    same = votes(work, "judged", ways[REFERENCE])[: len(eager_votes)].argmax(1)
    eager_votes = eager_votes[: len(same)].argmax(1)
    print(f"PyTorch: {(same == eager_votes).sum()} of {len(same)} votes as {REFERENCE}")
    show_margins(work, seconds)


def show_eight_trained(work: Path) -> None:
    """What the vote of eight networks would keep that each shift, by chance, as trained ones do."""
    normal = np.asarray([NormalDist().inv_cdf(place / 200) for place in range(1, 200)])
    for way in WAYS:
        for names in (*((name,) for name in TRAINED), tuple(TRAINED)):
            pairs = [
                [votes(work, "judged", {n: of_it}) for of_it in (REFERENCE, way)] for n in names
            ]
            if way == REFERENCE or min(len(given) for _, given in pairs) < CHUNK:
                continue
            squares = [(shifts(e[: len(g)], g) ** 2).mean() for e, g in pairs]
            vote = normal * float(np.sqrt(np.mean(squares) / len(EIGHT)))
            told = " and ".join(names)
            print(
                f"eight that shift as {told} in {way}: {kept_of_real(vote):.2%} of real ones kept"
            )


def show_costs(seconds: dict[str, dict[str, float]]) -> None:
    """Milliseconds of processor a knee of each network, by way."""
    ways = [PAPER, PREDICTED, *WAYS]
    print("\nmilliseconds of processor a knee\n| |", " | ".join(ways), "|")
    for name, of_it in seconds.items():
        print(f"| {name} |", " | ".join(f"{1000 * of_it[way]:.0f}" for way in ways), "|")
    whole = [sum(of_it[way] for of_it in seconds.values()) for way in ways]
    print("| together |", " | ".join(f"{1000 * of_it:.0f}" for of_it in whole), "|")


def cost(seconds: dict[str, dict[str, float]], ways: dict[str, str]) -> float:
    """Seconds a knee of the networks as a bundle, which opens the picture once."""
    opened_once = float(np.mean([of_it[OPENED] for of_it in seconds.values()]))
    return opened_once + sum(seconds[name][way] for name, way in ways.items())


def chosen(work: Path, seconds: dict[str, dict[str, float]]) -> dict[str, str]:
    """A way for each network: fast ones that together move the margins little enough.

    From the fastest of each on, the network is slowed down whose votes gain most by it for the time
    it takes, until real margins would keep enough grades, judged on the choosing knees. Empty where
    these are not all there.
    """
    slower = {name: sorted(WAYS, key=lambda way, of=of: of[way]) for name, of in seconds.items()}
    if any(not len(logits(work, name, "chosen", way)) for name in seconds for way in CHOICES):
        return {}
    expected = votes(work, "chosen", dict.fromkeys(seconds, REFERENCE))

    def kept(choice: dict[str, str]) -> float:
        return kept_of_real(shifts(expected, votes(work, "chosen", choice)))

    choice = {name: next(way for way in slower[name] if way in CHOICES) for name in seconds}
    while kept(choice) < AIM:
        steps = []
        for name, way in choice.items():
            for other in slower[name][slower[name].index(way) + 1 :]:
                if other in CHOICES:
                    gain = kept(choice | {name: other}) - kept(choice)
                    longer = seconds[name][other] - seconds[name][way]
                    steps.append((gain / longer, name, other))
        if not steps:
            break
        _, name, other = max(steps)
        choice[name] = other
    return choice


def show_agreement(work: Path, ways: dict[str, dict[str, str]], whose: str) -> None:
    """How many votes stay as they are in the reference, and how far probabilities move."""
    expected = votes(work, "judged", ways[REFERENCE])
    told = []
    for way, of_it in ways.items():
        given = votes(work, "judged", of_it)
        count = min(len(given), len(expected))
        if way == REFERENCE or not count:
            continue
        same = (given[:count].argmax(1) == expected[:count].argmax(1)).mean()
        low, high = wilson(float(same), count)
        moved = shifts(expected[:count], given[:count])
        told.append(
            f"{way} {same:.1%} of {count} ({low:.1%} to {high:.1%}), margins moved by"
            f" {np.abs(moved).mean():.4f}, which keeps {kept_of_real(moved):.2%} of real ones"
        )
    if told:
        print(f"{whose}: {'; '.join(told)}")


def shifts(expected: np.ndarray, given: np.ndarray) -> np.ndarray:
    """``(N,)``: how far the margin between the two grades likeliest before has moved."""
    second, first = np.argsort(expected)[:, -2:].T
    knees = np.arange(len(expected))
    return np.asarray(
        (given - expected)[knees, first] - (given - expected)[knees, second], np.float64
    )


def kept_of_real(moved: np.ndarray) -> float:
    """The share of grades that a real network would keep if its margins moved so, either way."""
    margins = np.diff(np.sort(out_of_fold(REAL[0]))[:, -2:])[:, 0]
    both_ways = np.concatenate([moved, -moved])
    return float(np.mean([(margins > -one).mean() for one in both_ways]))


def show_margins(work: Path, names: Iterable[str]) -> None:
    """How far the likeliest grade lies before the next, beside real networks out of fold."""
    told = {f"votes of {len(list(names))}": votes(work, "judged", dict.fromkeys(names, REFERENCE))}
    for name in (*names, *TRAINED):
        told[name] = votes(work, "judged", {name: REFERENCE})
    told |= {f"{table}, out of fold": out_of_fold(table) for table in REAL}
    print("\nshare of knees whose two likeliest grades lie less than so far apart")
    print("| |", " | ".join(f"{near:g}" for near in NEAR), "| median |")
    for name, of_it in told.items():
        if not len(of_it):
            continue
        margin = np.diff(np.sort(of_it)[:, -2:])[:, 0]
        shares = [f"{(margin < near).mean():.1%}" for near in NEAR]
        print(f"| {name} |", " | ".join(shares), f"| {np.median(margin):.2f} |")


def logits(work: Path, name: str, purpose: str, way: str) -> np.ndarray:
    """``(N, 5)``, what the head gives of the mean features, of as many knees as there are."""
    means = found(work, name, f"{purpose} {way}").get("means")
    if means is None:
        return np.empty((0, 5))
    with np.load(work / f"{name}.head.npz") as head:
        return np.asarray(means @ head["weight"].T + head["bias"])


def votes(work: Path, purpose: str, ways: dict[str, str]) -> np.ndarray:
    """``(N, 5)`` of the knees that all networks have graded: the mean of their distributions."""
    each = [logits(work, name, purpose, way) for name, way in ways.items()]
    count = min(map(len, each))
    return np.mean([softmax(of_it[:count]) for of_it in each], axis=0)


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
