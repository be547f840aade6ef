"""Several runners on one machine: nothing lost, nothing twice, and none of them left behind."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from collections import Counter
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from kellgren.cli.training.campaign_team import TeamLines, TeamTable
from kellgren.data.manifest import Knee
from kellgren.errors import CannotKeep
from kellgren.training.campaign import Campaign, TrainingJob, finished_jobs
from kellgren.training.campaign.survey import survey
from kellgren.training.runners.runner import run_campaign
from kellgren.training.runners.session import RunnerSession
from kellgren.training.runners.team import MAX_DEATHS, TeamWatcher, run_together
from kellgren.training.runners.worker import Event
from tiny_training import (
    ONE_CYCLE,
    assert_same_weights,
    campaign_in_tiny_world,
    campaign_short_of_memory,
    campaign_that_dies,
    processes_that_know,
    team_that_waits,
    tiny_recipe,
)

pytestmark = pytest.mark.usefixtures("small_world")

PATIENCE = 300
RECIPE = tiny_recipe(ONE_CYCLE, epochs=(2,), name="a")
CAMPAIGN = Campaign("tiny", 3, 0, (RECIPE,), finals=True)
TWO = Campaign("tiny", 2, 0, (RECIPE,))


class Notes(TeamWatcher):
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[tuple[int, Event]] = []
        self.deaths: list[tuple[str | None, str, bool]] = []

    def on_event(self, runner: int, event: Event) -> None:
        self.events.append((runner, event))

    def died(self, runner: int, job: TrainingJob | None, how: str, again: bool) -> None:
        self.deaths.append((job.name if job else None, how, again))

    def ended(self) -> Counter[str]:
        return Counter(
            event.job.name for _, event in self.events if event.job and event.kind == "ends"
        )


@pytest.fixture(scope="module")
def alone(knees: list[Knee], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one runner makes of the campaign."""
    folder = tmp_path_factory.mktemp("alone")
    run_campaign(CAMPAIGN, knees, folder)
    return folder


def assert_as_alone(folder: Path, alone: Path) -> None:
    """The same weights, bit for bit, and each epoch done once."""
    wanted, actual = finished_jobs(alone), finished_jobs(folder)
    assert [job.name for job in actual] == [job.name for job in wanted]
    for left, right in zip(actual, wanted, strict=True):
        name = "checkpoint.safetensors"
        assert_same_weights(left.run / name, right.run / name)
        log = (left.run / "log.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["epoch"] for line in log] == [1, 2]


def test_two_runners_of_which_one_is_killed_do_each_job_once(
    knees: list[Knee], alone: Path, tmp_path: Path
) -> None:
    notes, marks, folder = Notes(), tmp_path / "marks", tmp_path / "shared"
    marks.mkdir()
    work = partial(campaign_that_dies, 1, marks)
    session = RunnerSession.start(None, 2)
    result = run_together(CAMPAIGN, knees, folder, session, watcher=notes, work=work)
    (death,) = notes.deaths
    assert death[1:] == ("of signal SIGKILL (out of memory?)", True)
    assert notes.ended() == Counter({job.name: 1 for job in finished_jobs(alone)})
    assert {runner for runner, _ in notes.events} == {1, 2}
    assert (result.failed, result.paused, result.elsewhere) == ({}, False, [])
    assert_as_alone(folder, alone)


def test_a_job_at_which_every_runner_dies_is_given_up(knees: list[Knee], tmp_path: Path) -> None:
    notes, marks = Notes(), tmp_path / "marks"
    marks.mkdir()
    one = Campaign("tiny", 2, 0, (tiny_recipe(ONE_CYCLE, epochs=(5,), name="a"),))
    work = partial(campaign_that_dies, 99, marks)
    result = run_together(
        one, knees, tmp_path / "c", RunnerSession.start(None, 1), watcher=notes, work=work
    )
    assert len(result.failed) == 2
    assert all(f"{MAX_DEATHS} runners died at it" in why for why in result.failed.values())
    assert [again for *_, again in notes.deaths] == [True, True, False] * 2
    assert [one.state for one in survey(tmp_path / "c")] == ["failed", "failed"]


def test_the_time_is_that_of_all_runners_together(knees: list[Knee], tmp_path: Path) -> None:
    session = RunnerSession("s", 10.0, time.monotonic() - 11 * 60, runners=2)  # it is over
    result = run_together(CAMPAIGN, knees, tmp_path / "c", session, work=campaign_in_tiny_world)
    assert result.paused
    assert result.finished == []
    states = Counter(one.state for one in survey(tmp_path / "c"))
    assert states == {"paused": 2, "waiting": 2}  # each runner's first epoch, and no more
    assert not run_together(
        CAMPAIGN, knees, tmp_path / "c", RunnerSession.start(60, 2), work=campaign_in_tiny_world
    ).paused


def test_a_failing_job_is_tried_once_by_all_runners(knees: list[Knee], tmp_path: Path) -> None:
    hungry = RECIPE.model_copy(
        update={"network": RECIPE.network.model_copy(update={"pretrained": True})}
    )
    notes = Notes()
    campaign = Campaign("tiny", 3, 0, (hungry,))
    result = run_together(
        campaign,
        knees,
        tmp_path / "c",
        RunnerSession.start(None, 2),
        watcher=notes,
        work=campaign_in_tiny_world,
    )
    assert len(result.failed) == 3
    assert Counter(event.kind for _, event in notes.events) == {"begins": 3, "fails": 3}


def test_a_job_without_device_memory_waits_and_is_done_by_one_runner_alone(
    knees: list[Knee], alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = Notes()
    work = partial(campaign_short_of_memory, True)
    result = run_together(
        CAMPAIGN, knees, tmp_path / "c", RunnerSession.start(None, 2), watcher=notes, work=work
    )
    assert result.failed == {}
    assert not result.paused
    assert len(result.finished) == 4
    assert_as_alone(tmp_path / "c", alone)  # nothing of the first try is lost or done twice
    (first, *more) = [(n, event) for n, event in notes.events if event.kind == "returned"]
    assert len(more) <= 1  # the other runner may have tried it too
    lines = TeamLines()
    lines.on_event(*first)
    assert first[1].job is not None
    shown = f"{first[0]}: {first[1].job.name} waits again: no device memory for it beside the other"
    assert shown in capsys.readouterr().err


def test_a_job_without_device_memory_for_one_runner_alone_has_failed(
    knees: list[Knee], tmp_path: Path
) -> None:
    work = partial(campaign_short_of_memory, False)
    result = run_together(CAMPAIGN, knees, tmp_path / "c", RunnerSession.start(None, 2), work=work)
    assert len(result.finished) == 3
    assert [name[:7] for name in result.failed] == ["a-48-f0"]
    assert "CUDA out of memory" in "".join(result.failed.values())
    assert [one.state for one in survey(tmp_path / "c")] == ["failed", "done", "done", "done"]


def nowhere_to_write(*arguments: object, **how: object) -> None:
    raise CannotKeep("the folder", "is full", "Free some space")


def test_a_full_disk_ends_all_of_them_in_words(knees: list[Knee], tmp_path: Path) -> None:
    session = RunnerSession.start(None, 2)
    with pytest.raises(CannotKeep, match=r"the folder: is full\. Free some space"):
        run_together(CAMPAIGN, knees, tmp_path / "c", session, work=nowhere_to_write)  # type: ignore[arg-type]


# --- nobody is left behind -----------------------------------------------------------------------


def running(folder: Path) -> int:
    if not (folder / "campaign.json").exists():
        return 0
    return sum(one.state == "running" for one in survey(folder))


def until(folder: Path, count: int) -> None:
    """Wait until so many jobs have a runner at them."""
    ends = time.monotonic() + PATIENCE
    while running(folder) != count:
        assert time.monotonic() < ends
        time.sleep(0.1)


def waiting_team(knees: list[Knee], folder: Path) -> tuple[BaseProcess, object]:
    """A process with two runners, each in the middle of a job."""
    context = processes_that_know("kellgren.training.runners.worker")
    ours, theirs = context.Pipe()
    process = context.Process(target=team_that_waits, args=(TWO, knees, folder, theirs))
    process.start()
    theirs.close()
    ends = time.monotonic() + PATIENCE
    while not (folder / "campaign.json").exists() or any(
        one.epochs_done == 0 for one in survey(folder)
    ):
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert running(folder) == 2
    return process, ours


def test_runners_end_when_their_parent_is_killed(knees: list[Knee], tmp_path: Path) -> None:
    process, _ = waiting_team(knees, tmp_path / "c")
    process.kill()
    process.join(PATIENCE)
    until(tmp_path / "c", 0)  # the system has freed their locks: they are gone


def test_an_interrupt_ends_all_and_the_next_call_goes_on(knees: list[Knee], tmp_path: Path) -> None:
    folder = tmp_path / "c"
    process, line = waiting_team(knees, folder)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert line.poll(PATIENCE)  # type: ignore[attr-defined]
    assert line.recv() == "interrupted"  # type: ignore[attr-defined]
    assert running(folder) == 0  # before the call ended, not some time after
    process.join(PATIENCE)
    assert [one.epochs_done for one in survey(folder)] == [1, 1]
    result = run_together(
        TWO, knees, folder, RunnerSession.start(None, 2), work=campaign_in_tiny_world
    )
    assert len(result.finished) == 2


# --- what is seen of it --------------------------------------------------------------------------


def test_the_table_says_what_each_runner_does(knees: list[Knee], tmp_path: Path) -> None:
    from rich.console import Console
    from rich.live import Live

    notes = Notes()
    session = RunnerSession.start(60, 2)
    run_together(TWO, knees, tmp_path / "c", session, watcher=notes, work=campaign_in_tiny_world)
    console = Console(width=150, record=True, file=io.StringIO())
    table = TeamTable(Live(console=console), session)
    seen = ""
    for runner, event in notes.events:
        table.on_event(runner, event)
        console.print(table.render())
    seen = console.export_text()
    for word in ("a 48 f0", "a 48 f1", "epoch 1/2 at 48", "epoch 2/2 at 48", "accuracy"):
        assert word in seen
    assert "2 of 2 jobs done" in seen
    assert "time is up in" in seen


def test_off_a_terminal_every_event_is_a_line(
    knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = partial(campaign_that_dies, 1, tmp_path)
    run_together(
        TWO, knees, tmp_path / "c", RunnerSession.start(None, 2), watcher=TeamLines(), work=work
    )
    output = capsys.readouterr().err
    assert output.count("begins (") == 3  # two, and the one that was taken over
    assert output.count(": epoch 1: loss ") >= 1
    assert output.count("; another takes its place") == 1
    assert output.count("accuracy 0.") + output.count("accuracy 1.") >= 2
