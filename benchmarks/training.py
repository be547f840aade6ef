"""Training throughput: our loop against the paper's, on one machine, interleaved.

    python benchmarks/training.py --data kneeKL299 --network inception_v3_mixed7a --size 224

`paper` is the procedure of Pi et al. 2023 from its description: every epoch each file is opened,
resized with cubic interpolation, mirrored and turned by PIL in the workers of a DataLoader, made
three channels, normalised; batches of 16 in float32, contiguous; all layers, Adam. `ours` is
`kellgren.training` as a recipe runs it: knees decoded and resized once, changed as a batch of
tensors, channels last, the precision that the device is good at. Both start from random weights:
the arithmetic is the same.

Rounds alternate, so that whatever else the machine does falls on both; a row is the median round.
`loading` rows are the same loops without the network: what reading and changing pictures costs.
Processor time is this process's, without the paper's workers: the fairer ratio on a busy machine,
but for `loading`, where the workers do all of the paper's work.

The last line is what the host spends on a step of 32 knees at 384 pixels without the network:
picking, changing and normalising pictures, the loss, the weights' average. On a GPU it is the time
to ask for all that, none of it waited for. On a CPU, where asking and doing are one, the same
operations are asked for on pictures of 8 pixels and one value of each weight: what is left is the
asking.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from kellgren.data.manifest import Knee, for_training, index
from kellgren.grades import GRADE_COUNT
from kellgren.training.architectures import find
from kellgren.training.input.augment import draw
from kellgren.training.input.loading import load_planes
from kellgren.training.member.average import Pairs, average_of, decay_at, move_average, paired
from kellgren.training.member.batches import DeviceKnees, on_device
from kellgren.training.member.checkpoint import RunState
from kellgren.training.member.loop import learn
from kellgren.training.member.prepare import prepare
from kellgren.training.member.run import MemberRun
from kellgren.training.member.schedule import optimiser_for
from kellgren.training.member.soft_targets import targets_for
from kellgren.training.recipe import Recipe, read_recipe

PAPER_BATCH = 16
LOADING_STEPS = 20
EPOCH = 40  # steps whose chance is drawn at once
HOST_BATCH, HOST_SIZE, TINY = 32, 384, 8
Batches = Iterator[tuple[Tensor, Tensor]]


class PaperKnees(Dataset[tuple[Tensor, int]]):
    """One knee at a time: opened, resized, mirrored, turned, three channels, normalised."""

    def __init__(self, knees: list[Knee], size: int, images: int) -> None:
        self.knees = [knees[number % len(knees)] for number in range(images)]
        self.size = size

    def __len__(self) -> int:
        return len(self.knees)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        knee = self.knees[position]
        with Image.open(knee.image) as file:
            picture = file.convert("RGB").resize((self.size, self.size), Image.Resampling.BICUBIC)
        if torch.rand(()) < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture = picture.rotate(float(torch.empty(()).uniform_(-20, 20)))
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1), int(knee.grade or 0)


def paper_batches(knees: list[Knee], size: int, batches: int, workers: int) -> Batches:
    """The paper's pictures, batch by batch, from workers that live as long as they are asked."""
    known = PaperKnees(knees, size, PAPER_BATCH * batches)
    yield from DataLoader(known, PAPER_BATCH, shuffle=True, num_workers=workers)


def paper_steps(network: str, batches: Batches) -> Iterator[int]:
    """Learn batch by batch, all layers; how many pictures each had."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    member = find(network).build(GRADE_COUNT).to(device).train()
    optimiser = torch.optim.Adam(member.parameters(), lr=1e-3, weight_decay=1e-4)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    for images, grades in batches:
        loss = loss_of(member(images.to(device)), grades.to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        yield len(images)


def our_batches(run: MemberRun) -> Batches:
    """Our pictures, without end, from planes that were read before."""
    planes = load_planes(run.knees, run.preprocess(run.recipe.final_size))
    yield from changed_batches(run, on_device(run, planes, targets_for(run)), run.recipe.batch)


def changed_batches(run: MemberRun, knees: DeviceKnees, batch: int) -> Batches:
    """Pictures and targets as a training step gets them; of knees drawn with repeats."""
    device = run.device.name
    generator = torch.Generator(device).manual_seed(0)
    while True:
        places = (EPOCH, batch)
        order = torch.randint(len(knees.planes), places, generator=generator, device=device)
        changes = draw(run.recipe.augmentation, EPOCH, batch, generator)
        for step in range(EPOCH):
            images = knees.augmented(order[step], changes.of_step(step), generator)
            yield images, knees.targets.index_select(0, order[step])


def our_steps(run: MemberRun, batches: Batches) -> Iterator[int]:
    """Learn batch by batch as the training loop does; how many pictures each had."""
    member = find(run.recipe.network.architecture).build(GRADE_COUNT).to(run.device.name)
    member = member.to(memory_format=torch.channels_last)
    if run.recipe.network.freeze_stem:
        member.freeze_stem()
    state = RunState(member.train(), None, optimiser_for(member, run.recipe.schedule, 0), [])
    for images, targets in batches:
        learn(run, state, images, targets, 1e-4)
        yield len(images)


def host_seconds(run: MemberRun) -> float:
    """What the host spends on a step without the network: the median of an epoch's steps."""
    device, side = run.device, TINY if run.device.is_processor else HOST_SIZE
    knees = on_device(run, np.zeros((len(run.knees), side, side), np.uint8), targets_for(run))
    network = find(run.recipe.network.architecture).build(GRADE_COUNT).to(device.name)
    followed = paired(average_of(network), network)
    if device.is_processor:
        followed = Pairs(*([value.flatten()[:1] for value in part] for part in followed))
    logits = torch.zeros(HOST_BATCH, GRADE_COUNT, device=device.name)
    batches = changed_batches(run, knees, HOST_BATCH)
    next(batches)  # draws the epoch's chance, and what is asked for first takes long
    clock = time.process_time if device.is_processor else time.perf_counter
    seconds, losses = [], []
    for step in range(1, EPOCH):
        if not device.is_processor:
            torch.cuda.synchronize()  # a full queue would hold the host up
        began = clock()
        _, targets = next(batches)
        losses.append(functional.cross_entropy(logits, targets).detach())
        move_average(followed, decay_at(step, 0.99, EPOCH))
        seconds.append(clock() - began)
    return statistics.median(seconds)


class Spent(NamedTuple):
    """What an image cost, in seconds: of the clock, and of this process's processor time."""

    clock: float
    processor: float


def spent_an_image(steps: Iterator[int], count: int) -> Spent:
    """Over some steps, after one that is not counted."""
    next(steps)
    clock, processor = time.perf_counter(), time.process_time()
    images = sum(islice(steps, count))
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return Spent(clock / images, processor / images)


def median(rounds: list[Spent]) -> Spent:
    """Of each number by itself."""
    return Spent(*(statistics.median(numbers) for numbers in zip(*rounds, strict=True)))


def recipe_for(options: argparse.Namespace, freeze: bool) -> Recipe:
    """The named recipe with the network and size asked for."""
    base = read_recipe(options.recipe).model_dump()
    base["network"] |= {
        "architecture": options.network,
        "pretrained": False,
        "freeze_stem": freeze,
    }
    return Recipe.model_validate(base).at_size(options.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("examples/grades.csv"))
    parser.add_argument("--network", default="inception_v3_mixed7a")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--recipe", default="lite2", help="whose loop `ours` is")
    parser.add_argument("--steps", type=int, default=4, help="counted steps in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of the paper's loader")
    options = parser.parse_args()
    knees = for_training(index(options.data), options.data)
    size, steps, workers = options.size, options.steps, options.workers
    runs = {
        name: prepare(
            recipe_for(options, frozen), knees, Path(), folds=None, fold=None, weights_dir=None
        )
        for name, frozen in (("ours", False), ("ours, stem frozen", True))
    }

    def paper(count: int) -> Batches:
        ahead = 2 * workers  # batches that the workers are ahead by: they never run dry
        return paper_batches(knees, size, count + 1 + ahead, workers)

    contests: dict[str, Callable[[], Spent]] = {
        "paper": lambda: spent_an_image(paper_steps(options.network, paper(steps)), steps),
        **{
            name: lambda run=run: spent_an_image(our_steps(run, our_batches(run)), steps)
            for name, run in runs.items()
        },
        "loading, paper": lambda: spent_an_image(
            (len(images) for images, _ in paper(LOADING_STEPS)), LOADING_STEPS
        ),
        "loading, ours": lambda: spent_an_image(
            (len(images) for images, _ in our_batches(runs["ours"])), LOADING_STEPS
        ),
    }
    spent: dict[str, list[Spent]] = {name: [] for name in contests}
    for _ in range(options.rounds):
        for name, contest in contests.items():
            spent[name].append(contest())
    print(
        f"{options.network} at {size}, {torch.get_num_threads()} threads; paper: batch "
        f"{PAPER_BATCH}, fp32, {workers} workers; ours: batch {runs['ours'].recipe.batch}, "
        f"{runs['ours'].device}"
    )
    print(f"{'':<20}{'images/s':>10}{'ratio':>8}{'CPU ms an image':>18}{'ratio':>8}")
    for name, rounds in spent.items():
        ours = median(rounds)
        paper_s = median(spent["loading, paper" if name.startswith("loading") else "paper"])
        print(
            f"{name:<20}{1 / ours.clock:>10.2f}{paper_s.clock / ours.clock:>8.2f}"
            f"{1000 * ours.processor:>18.1f}{paper_s.processor / ours.processor:>8.2f}"
        )
    how = "dispatch, on pictures of 8 pixels" if runs["ours"].device.is_processor else "enqueuing"
    print(
        f"host time of a step without the network, batch {HOST_BATCH} at {HOST_SIZE} ({how}): "
        f"{1000 * host_seconds(runs['ours']):.2f} ms"
    )


if __name__ == "__main__":
    main()
