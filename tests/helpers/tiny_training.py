"""Training in the blink of an eye: a network of two convolutions, a dozen knees of the examples."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds
from kellgren.errors import CannotKeep, TrainingError, WeightsUnavailable
from kellgren.evaluation import Scores
from kellgren.file_names import patient_and_side
from kellgren.grades import Grade
from kellgren.training.architectures import ARCHITECTURES, Architecture, Member
from kellgren.training.campaign import Campaign
from kellgren.training.campaign.plan import TrainingJob
from kellgren.training.campaign.survey import JobStatus
from kellgren.training.device import Device
from kellgren.training.fingerprint import data_hash
from kellgren.training.member.loop import train
from kellgren.training.member.run import MemberRun
from kellgren.training.recipe import Recipe
from kellgren.training.runners.runner import CampaignResult, CampaignWatcher, run_campaign
from kellgren.training.runners.session import RunnerSession
from kellgren.training.runners.team import run_together

EXAMPLES = Path(__file__).parents[2] / "examples"
GRADES = (0, 1, 2, 3, 4, 0, 0, 1, 2, 0, 3, 0)  # five of one grade, for five folds
FOLDS = Folds({f"90000{n:02}": n % 4 // 3 for n in range(12)}, 2, 0)
KNEE_PIXELS = 100  # of a side; more would be decoded again and again
STEPS = 3  # of an epoch: nine knees to learn from, by threes
ONE_CYCLE = {"name": "one-cycle", "peak_rate": 0.01}
HEAD_THEN_ALL = {
    "name": "head-then-all",
    "head_rate": 0.01,
    "rate": 0.003,
    "weight_decay": 1e-4,
    "step_epochs": 2,
    "step_factor": 0.1,
    "patience": 10,
    "delta": 0.0,
}
EVERY_CHANGE = {
    **{"mirror": 0.5, "rotation": 12, "scale": 0.14, "shift": 0.08, "contrast": 0.25},
    **{"brightness": 0.1, "gamma": 0.35, "blur": 0.5, "noise": 0.02, "erase": 0.5},
}


def tiny(grades: int) -> Member:
    """16 channels at stride 8, with all that a run must keep: batch statistics, dropout."""
    stages = {
        "conv0": nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        "norm0": nn.BatchNorm2d(8),
        "relu0": nn.ReLU(),
        "conv1": nn.Conv2d(8, 16, 3, stride=4, padding=1, bias=False),
        "norm1": nn.BatchNorm2d(16),
        "relu1": nn.ReLU(),
    }
    return Member(stages, body_from="conv1", channels=16, grades=grades, dropout=0.2)


def no_weights(member: Member, folder: Path | None) -> str:
    raise WeightsUnavailable("tiny", "has never been pretrained", "Set pretrained to false")


TINY = Architecture("tiny", 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "body.relu1", tiny, no_weights)


def tiny_recipe(schedule: dict[str, Any], epochs: Sequence[int] = (2, 2), **changes: Any) -> Recipe:
    """A recipe whose stages grow from 48 pixels, with everything switched on."""
    values = {
        "name": "tiny",
        "batch": 3,
        "precision": "fp32",
        "average": 0.8 if schedule["name"] == "one-cycle" else 0.0,
        "stages": [{"epochs": n, "size": 48 + 16 * k} for k, n in enumerate(epochs)],
        "network": {"architecture": "tiny", "pretrained": False, "dropout": 0.3},
        "schedule": schedule,
        "targets": {"kind": "ordinal"},
        "augmentation": EVERY_CHANGE,
    }
    return Recipe.model_validate(values | changes)


def copied_knees(folder: Path) -> list[Knee]:
    """Twelve knees of twelve patients: the examples, small, under other names, graded at random."""
    sources = sorted(EXAMPLES.glob("*.png"))
    knees = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, grade in enumerate(GRADES):
        source = sources[number % len(sources)]
        image = folder / f"90000{number:02}{source.stem[-1]}.png"
        with Image.open(source) as picture:
            picture.resize((KNEE_PIXELS, KNEE_PIXELS)).save(image)
        patient, side = patient_and_side(image)
        knees.append(Knee(image, patient, side, Grade(grade), "", "chen2018-299"))
    return knees


def tiny_run(recipe: Recipe, knees: Sequence[Knee], out: Path, fold: int | None = 1) -> MemberRun:
    """A run on the CPU in fp32; fold 1 holds three knees out, ``None`` nothing."""
    folds = None if fold is None else FOLDS
    held_out = np.zeros(len(knees), bool) if fold is None else FOLDS.held_out(knees, fold)
    return MemberRun(
        recipe=recipe,
        knees=knees,
        held_out=held_out,
        data_hash=data_hash(knees, folds, fold),
        out=out,
        weights_dir=None,
        device=Device("cpu", bf16=False),
    )


@contextmanager
def tiny_world() -> Iterator[None]:
    """The tiny network is known, one thread makes sums in one order, chance is put back after."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with patch.dict(ARCHITECTURES, tiny=TINY), torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def tensors(path: Path) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in load_file(path).items()}  # off the file


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as stored:
        return dict(stored.metadata())


def assert_same_weights(one: Path, other: Path) -> None:
    """Every tensor of two checkpoints is equal to the last bit."""
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    assert not [name for name in left if not torch.equal(left[name], right[name])]


# --- in a process of its own ---------------------------------------------------------------------


class _Leash(CampaignWatcher):
    """Reports each step, and waits to be let go."""

    def __init__(self, line: Connection) -> None:
        self.line = line

    def step(self, loss: float | None) -> None:
        self.line.send("step")
        self.line.recv()


def processes_that_know(module: str) -> ForkServerContext:
    """Processes that are forked from one that has imported a module, and torch with it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module, "sklearn.model_selection"])
    return context


def train_on_a_leash(run: MemberRun, line: Connection) -> None:
    """Train, step by step, whenever the other end of the line answers."""
    with tiny_world():
        train(run, resume=True, watcher=_Leash(line))
    line.send("finished")


def train_on_a_full_disk(run: MemberRun, most_bytes: int, line: Connection) -> None:
    """Train where no file may grow beyond a size, and send what the error says."""
    import resource  # not on every system

    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    with tiny_world():
        try:
            line.send(f"finished: {train(run, resume=True)}")
        except TrainingError as error:
            line.send(str(error))


def campaign_on_a_leash(
    campaign: Campaign, knees: Sequence[Knee], folder: Path, line: Connection
) -> None:
    """Do a campaign, step by step, whenever the other end of the line answers."""
    with tiny_world():
        result = run_campaign(campaign, knees, folder, watcher=_Leash(line))
    line.send([job.name for job in result.finished])


def campaign_in_tiny_world(
    campaign: Campaign, knees: Sequence[Knee], folder: Path, **how: Any
) -> CampaignResult:
    """What a runner of a team does, where the tiny network is known."""
    with tiny_world():
        return run_campaign(campaign, knees, folder, **how)


class _Mortal(CampaignWatcher):
    """Forwards calls, and ends or stops the process after an epoch of a job."""

    def __init__(self, other: CampaignWatcher, end: Callable[[], None]) -> None:
        self.other, self.end = other, end

    def job_begins(self, job: TrainingJob, statuses: Sequence[JobStatus]) -> None:
        self.other.job_begins(job, statuses)

    def epoch_ends(self, record: dict[str, Any]) -> None:
        self.other.epoch_ends(record)
        self.end()

    def job_ends(self, job: TrainingJob, scores: Scores | None) -> None:
        self.other.job_ends(job, scores)


def campaign_that_dies(
    deaths: int,
    notes: Path,
    campaign: Campaign,
    knees: Sequence[Knee],
    folder: Path,
    *,
    watcher: CampaignWatcher,
    **how: Any,
) -> CampaignResult:
    """The same, but as often as asked for the process is killed after an epoch."""

    def end() -> None:
        for number in range(deaths):
            with suppress(FileExistsError):
                (notes / str(number)).touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)

    with tiny_world():
        return run_campaign(campaign, knees, folder, watcher=_Mortal(watcher, end), **how)


def campaign_short_of_memory(
    job_runs_alone: bool,
    campaign: Campaign,
    knees: Sequence[Knee],
    folder: Path,
    *,
    watcher: CampaignWatcher,
    session: RunnerSession,
    **how: Any,
) -> CampaignResult:
    """The same, but after the first epoch of fold 0 the device has no memory beside others'.

    Args:
        job_runs_alone: whether it has for one runner alone.
    """

    class Short(_Mortal):
        fold: int | None = None

        def job_begins(self, job: TrainingJob, statuses: Sequence[JobStatus]) -> None:
            self.fold = job.fold
            super().job_begins(job, statuses)

        def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
            if epoch > 0 and self.fold == 0:
                self.end()

        def epoch_ends(self, record: dict[str, Any]) -> None:
            self.other.epoch_ends(record)

        def job_returned(self, job: TrainingJob) -> None:
            self.other.job_returned(job)

        def job_fails(self, job: TrainingJob, reason: str) -> None:
            self.other.job_fails(job, reason)

    def end() -> None:
        if session.runners > 1 or not job_runs_alone:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with tiny_world():
        short = Short(watcher, end)
        return run_campaign(campaign, knees, folder, watcher=short, session=session, **how)


def campaign_that_waits(
    campaign: Campaign, knees: Sequence[Knee], folder: Path, **how: Any
) -> CampaignResult:
    """The same, but it stands still after the first epoch, with its lock in hand."""
    watcher = _Mortal(how.pop("watcher"), lambda: time.sleep(600))
    with tiny_world():
        return run_campaign(campaign, knees, folder, watcher=watcher, **how)


def team_that_waits(
    campaign: Campaign, knees: Sequence[Knee], folder: Path, line: Connection
) -> None:
    """Two runners, each of which stands still; how this process ended, where it can say so."""
    with tiny_world():
        try:
            session = RunnerSession.start(None, 2)
            run_together(campaign, knees, folder, session, work=campaign_that_waits)
        except KeyboardInterrupt:
            line.send("interrupted")


def campaign_on_a_full_disk(
    campaign: Campaign, knees: Sequence[Knee], folder: Path, most_bytes: int, line: Connection
) -> None:
    """Do a campaign where no file may grow beyond a size, and send what the error says."""
    import resource  # not on every system

    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    with tiny_world():
        try:
            line.send(f"finished: {run_campaign(campaign, knees, folder)}")
        except CannotKeep as error:
            line.send(str(error))
