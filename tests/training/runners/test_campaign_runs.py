"""A campaign that is killed, shared, starved of disk or merged loses and repeats nothing."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from command_line import kellgren, rows
from kellgren.data.manifest import Knee, write_manifest
from kellgren.data.splits import load_folds
from kellgren.errors import InvalidRecipe, TrainingError
from kellgren.grades import Side
from kellgren.training.campaign import Campaign, TrainingJob, all_jobs, finished_jobs, read_plan
from kellgren.training.campaign.plan import job_lock, open_campaign
from kellgren.training.campaign.survey import JobStatus, minutes_left, survey
from kellgren.training.runners.runner import CampaignWatcher, run_campaign
from tiny_training import (
    HEAD_THEN_ALL,
    ONE_CYCLE,
    assert_same_weights,
    campaign_on_a_full_disk,
    campaign_on_a_leash,
    processes_that_know,
    tiny_recipe,
)

PATIENCE = 300  # seconds: only a hang takes so long, however busy the machine
RECIPES = (
    tiny_recipe(ONE_CYCLE, epochs=(1, 1), name="a"),
    tiny_recipe(HEAD_THEN_ALL, epochs=(2,), name="b"),
)
CAMPAIGN = Campaign("tiny", 2, 0, RECIPES)
SHORT = Campaign("tiny", 2, 0, RECIPES[:1])  # where two jobs show what four would
ORDER = ["a-64-f0", "b-48-f0", "a-64-f1", "b-48-f1"]
RUN_LEAVES = {
    *("checkpoint.safetensors", "log.jsonl", "curves.png", "folds.json", "origin.json"),
    *("oof.csv", "scores.json", "member.onnx", "member.head.npz", "member.json"),
}


pytestmark = pytest.mark.usefixtures("small_world")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    return processes_that_know("kellgren.training.runners.runner")


class Diary(CampaignWatcher):
    """Notes which jobs began, and how the campaign stood then."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.stood: list[list[JobStatus]] = []

    def job_begins(self, job: TrainingJob, statuses: Any) -> None:
        self.jobs.append(short(job))
        self.stood.append(list(statuses))


@pytest.fixture(scope="module")
def whole(knees: list[Knee], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    diary = Diary()
    result = run_campaign(CAMPAIGN, knees, folder, watcher=diary)
    assert diary.jobs == ORDER == [short(job) for job in result.finished]
    assert (result.failed, result.paused, result.elsewhere) == ({}, False, [])
    assert minutes_left(diary.stood[0]) == (0.0, True)
    left = [status.minutes_left for status in diary.stood[2]]
    assert left[:2] == [0.0, 0.0]
    assert all(minutes is not None and minutes > 0 for minutes in left[2:])
    return folder


@pytest.fixture
def begun(whole: Path, knees: list[Knee], tmp_path: Path) -> Path:
    """A campaign whose first job is half-trained."""
    folder = tmp_path / "begun"
    result = run_campaign(SHORT, knees, folder, max_minutes=0)
    assert result.paused
    return folder


def short(job: TrainingJob) -> str:
    return f"{job.member}-{job.size}-f{job.fold}"


def states(folder: Path) -> list[str]:
    return [status.state for status in survey(folder)]


def assert_as_undisturbed(folder: Path, whole: Path) -> None:
    """Every job ended in the same weights and predictions, each epoch done once."""
    undisturbed = {job.name: job for job in finished_jobs(whole)}
    actual = finished_jobs(folder)
    assert len(actual) == len(all_jobs(folder)) >= 2
    for left in actual:
        right = undisturbed[left.name]
        assert_same_weights(
            left.run / "checkpoint.safetensors", right.run / "checkpoint.safetensors"
        )
        assert (left.run / "oof.csv").read_bytes() == (right.run / "oof.csv").read_bytes()
        log = (left.run / "log.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["epoch"] for line in log] == [1, 2]


def started(
    context: ForkServerContext, knees: list[Knee], folder: Path
) -> tuple[BaseProcess, Connection]:
    """A runner in a process of its own, on a leash."""
    ours, theirs = context.Pipe()
    arguments = (SHORT, knees, folder, theirs)
    process = context.Process(target=campaign_on_a_leash, args=arguments)
    process.start()
    theirs.close()
    return process, ours


def led(line: Connection, steps: int) -> None:
    """Let a runner take some steps; it then waits in the middle of the next."""
    for step in range(steps + 1):
        assert line.poll(PATIENCE)
        assert line.recv() == "step"
        if step < steps:
            line.send("go on")


def let_go(line: Connection) -> list[str]:
    """Let a runner go on to its end; the jobs that it finished."""
    while True:
        line.send("go on")
        assert line.poll(PATIENCE)
        output = line.recv()
        if output != "step":
            return list(output)


def test_every_job_is_a_whole_run_and_the_folder_says_so(whole: Path, knees: list[Knee]) -> None:
    assert [short(job) for job in finished_jobs(whole)] == ORDER
    folds = load_folds(whole / "folds.json")
    plan = read_plan(whole)
    assert (plan.folds, plan.folds_hash) == (2, folds.hash)
    for job in finished_jobs(whole):
        extra = {"best.safetensors"} if job.member == "b" else set()
        assert {path.name for path in job.run.iterdir()} == RUN_LEAVES | extra
        facts = json.loads((job.run / "member.json").read_text("utf-8"))
        assert facts["recipe_hash"] == job.recipe_hash == job.recipe.hash
        assert job.name == f"{short(job)}-{job.recipe_hash[:8]}"
        assert (facts["held_out_fold"], facts["folds_hash"]) == (job.fold, folds.hash)
        held_out = [knee for knee in knees if folds.of_patient[knee.patient] == job.fold]
        actual = rows(job.run / "oof.csv")
        assert [row["image"] for row in actual] == [str(knee.image) for knee in held_out]
        right = sum(
            int(row["grade"]) == knee.grade for row, knee in zip(actual, held_out, strict=True)
        )
        scores = json.loads((job.run / "scores.json").read_text("utf-8"))
        assert scores["accuracy"]["value"] == pytest.approx(right / len(actual))
    assert states(whole) == ["done"] * 4
    assert minutes_left(survey(whole)) == (0.0, False)


def test_a_finished_campaign_is_left_as_it_is(whole: Path, knees: list[Knee]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (whole / "jobs").rglob("*")}
    result = run_campaign(CAMPAIGN, knees, whole)
    assert (result.finished, result.failed, result.elsewhere) == ([], {}, [])
    assert {path: path.stat().st_mtime_ns for path in (whole / "jobs").rglob("*")} == before


def test_a_campaign_in_slices_ends_as_one_in_one_piece(
    whole: Path, knees: list[Knee], begun: Path
) -> None:
    assert states(begun) == ["paused", "waiting"]
    first = survey(begun)[0]
    assert (first.epochs_done, first.job.recipe.epochs) == (1, 2)
    assert first.minutes_left is not None
    assert first.accuracy is not None
    slices = 1
    while (result := run_campaign(SHORT, knees, begun, max_minutes=0)).paused:
        slices += 1
        assert not result.failed
    assert slices == 3  # four epochs; the last one ends the campaign
    assert_as_undisturbed(begun, whole)


def test_a_campaign_killed_three_times_ends_as_one_that_was_not(
    whole: Path, knees: list[Knee], processes: ForkServerContext, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    for steps in (1, 3, 3):  # in a first epoch, in a second, and in the next job
        process, line = started(processes, knees, folder)
        led(line, steps)
        assert "running" in states(folder)
        process.kill()
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL
        assert "running" not in states(folder)  # the lock died with its holder
    run_campaign(SHORT, knees, folder)
    assert_as_undisturbed(folder, whole)


def test_two_runners_share_a_plan_and_do_no_job_twice(
    whole: Path, knees: list[Knee], processes: ForkServerContext, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    process, line = started(processes, knees, folder)
    led(line, 1)
    diary = Diary()
    result = run_campaign(SHORT, knees, folder, watcher=diary)
    assert diary.jobs == ["a-64-f1"]
    assert [short(job) for job in result.elsewhere] == ["a-64-f0"]
    theirs = let_go(line)
    process.join(PATIENCE)
    assert theirs == [job.name for job in result.elsewhere]
    assert_as_undisturbed(folder, whole)


def test_a_damaged_checkpoint_fails_its_job_alone_and_stays_where_it_is(
    whole: Path, knees: list[Knee], begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = all_jobs(begun)[0].run / "checkpoint.safetensors"
    damaged = bytearray(checkpoint.read_bytes())
    damaged[-1] ^= 1
    checkpoint.write_bytes(damaged)
    for _ in range(2):  # and trying again is no cure
        result = run_campaign(SHORT, knees, begun)
        (reason,) = result.failed.values()
        assert str(checkpoint) in reason
        assert "is not a whole checkpoint" in reason
        assert "Delete it and start again" in reason
        assert checkpoint.read_bytes() == damaged
        assert states(begun) == ["failed", "done"]
    assert kellgren("train", "status", begun, "--json", tmp_path / "status.json") == 0
    output = capsys.readouterr().out
    assert "1 of 2 jobs done" in output
    assert f"failed: {all_jobs(begun)[0].name}: {checkpoint}: is not a whole checkpoint" in output
    first, other = json.loads((tmp_path / "status.json").read_text())["jobs"]
    assert first["state"] == "failed"
    assert "whole checkpoint" in first["problem"]
    assert other["state"] == "done"

    checkpoint.unlink()
    assert not run_campaign(SHORT, knees, begun).failed
    assert_as_undisturbed(begun, whole)


def test_a_full_disk_stops_the_campaign_in_words_and_loses_nothing(
    whole: Path, knees: list[Knee], begun: Path, processes: ForkServerContext
) -> None:
    checkpoint = all_jobs(begun)[0].run / "checkpoint.safetensors"
    before = checkpoint.read_bytes()
    for most in (len(before) // 2, 100):  # too little for a checkpoint, too little for anything
        ours, theirs = processes.Pipe()
        arguments = (SHORT, knees, begun, most, theirs)
        process = processes.Process(target=campaign_on_a_full_disk, args=arguments)
        process.start()
        theirs.close()
        assert ours.poll(PATIENCE)
        output = ours.recv()
        process.join(PATIENCE)
        assert str(begun) in output
        assert "disk space" in output
        assert "same command" in output
        assert checkpoint.read_bytes() == before
        assert states(begun) == ["paused", "waiting"]
    run_campaign(SHORT, knees, begun)
    assert_as_undisturbed(begun, whole)


# --- a plan grows, or refuses --------------------------------------------------------------------


def test_a_plan_grows_by_members_and_sizes(whole: Path, knees: list[Knee], tmp_path: Path) -> None:
    folder = tmp_path / "growing"
    shutil.copytree(whole, folder)
    smaller = RECIPES[0].at_size(48)
    diary = Diary()
    run_campaign(Campaign("tiny", 2, 0, (*RECIPES, smaller)), knees, folder, watcher=diary)
    assert diary.jobs == ["a-48-f0", "a-48-f1"]
    assert [short(job) for job in all_jobs(folder)] == [
        *("a-64-f0", "b-48-f0", "a-48-f0", "a-64-f1", "b-48-f1", "a-48-f1")
    ]
    assert states(folder) == ["done"] * 6
    assert run_campaign(CAMPAIGN, knees, folder).finished == []  # the smaller campaign is done too

    picture, table = tmp_path / "sizes.png", tmp_path / "sizes.json"
    assert kellgren("train", "sizes", folder, "--picture", picture, "--json", table) == 0
    actual = {row["member"]: row for row in json.loads(table.read_text())["members"]}
    assert [row["size"] for row in actual["a"]["sizes"]] == [48, 64]
    assert actual["a"]["folds"] == [0, 1]
    assert actual["a"]["chosen"] in (48, 64)
    assert actual["b"]["chosen"] == actual["b"]["best"] == 48
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_does_not_fit_the_plan_is_refused_and_changes_nothing(
    whole: Path, knees: list[Knee], tmp_path: Path
) -> None:
    before = (whole / "campaign.json").read_bytes()
    other_recipe = RECIPES[0].model_copy(update={"seed": 1})
    others = [
        (
            Campaign("tiny", 2, 0, (other_recipe,)),
            knees,
            "member a at 64 pixels has another recipe",
        ),
        (Campaign("tiny", 3, 0, RECIPES), knees, "holds a campaign of 2 folds, seed 0"),
        (Campaign("tiny", 2, 1, RECIPES), knees, "asked for are 2, seed 1"),
        (CAMPAIGN, knees[1:], "knees or grades are not those"),
    ]
    for campaign, data, output in others:
        with pytest.raises(TrainingError, match=output):
            run_campaign(campaign, data, whole)
    unknown = RECIPES[0].model_copy(
        update={"network": RECIPES[0].network.model_copy(update={"architecture": "tinny"})}
    )
    with pytest.raises(InvalidRecipe, match="Did you mean tiny"):
        run_campaign(Campaign("tiny", 2, 0, (unknown,)), knees, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert (whole / "campaign.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["", "{", '{"format": 2}', "shorter"])
def test_a_damaged_plan_is_refused(whole: Path, tmp_path: Path, damage: str) -> None:
    text = (whole / "campaign.json").read_text("utf-8")
    changed = text.replace('"seed": 42', '"seed": 43') if damage == "shorter" else damage
    assert changed != text
    (tmp_path / "campaign.json").write_text(changed)
    with pytest.raises(TrainingError, match=r"campaign\.json: .*Restore the original file"):
        all_jobs(tmp_path)
    with pytest.raises(TrainingError, match=r"holds no campaign\.json"):
        all_jobs(tmp_path / "nowhere")


# --- several machines ----------------------------------------------------------------------------


@pytest.fixture
def elsewhere(whole: Path, tmp_path: Path) -> Path:
    """Another machine's folder, of a longer plan, which finished the first and the third job."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(whole, folder)
    for job in all_jobs(folder)[1::2]:
        (job.run / "oof.csv").unlink()
    return folder


def test_finished_jobs_of_other_machines_are_taken_over_once(
    whole: Path, begun: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = all_jobs(begun)[0].run / "checkpoint.safetensors"
    half_trained = checkpoint.read_bytes()
    assert kellgren("train", "merge", elsewhere, elsewhere, "--out", begun) == 0
    output = capsys.readouterr()
    assert "2 taken over, 2 were finished here" in output.out
    assert states(begun) == ["done", "waiting", "done", "waiting"]
    name = all_jobs(begun)[0].name
    assert f"set-aside/{name}" in output.err
    aside = begun / "set-aside" / name / "checkpoint.safetensors"
    assert aside.read_bytes() == half_trained

    marked = all_jobs(begun)[0].run / "oof.csv"
    marked.write_bytes(marked.read_bytes() + b"\n")  # ours, to be told from theirs
    ours = marked.read_bytes()
    assert kellgren("train", "merge", whole, "--out", begun) == 0
    assert "2 taken over, 2 were finished here" in capsys.readouterr().out
    assert states(begun) == ["done"] * 4
    assert marked.read_bytes() == ours


def test_a_new_folder_takes_the_plan_of_the_first(
    whole: Path, knees: list[Knee], tmp_path: Path
) -> None:
    target = tmp_path / "new"
    assert kellgren("train", "merge", whole, "--out", target) == 0
    assert_as_undisturbed(target, whole)
    assert run_campaign(CAMPAIGN, knees, target).finished == []


def test_a_job_at_work_is_left_alone(
    begun: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with job_lock(begun, all_jobs(begun)[0]):
        assert states(begun)[0] == "running"
        assert kellgren("train", "merge", elsewhere, "--out", begun) == 0
    assert "somebody is at it here" in capsys.readouterr().err
    assert states(begun) == ["paused", "waiting", "done", "waiting"]


def test_other_folds_data_recipes_and_runs_are_not_merged(
    begun: Path, whole: Path, knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(campaign: Campaign, data: list[Knee]) -> str:
        other = tmp_path / f"other-{len(list(tmp_path.iterdir()))}"
        open_campaign(campaign, data, other)
        before = (begun / "campaign.json").read_bytes()
        assert kellgren("train", "merge", other, "--out", begun) == 2
        assert (begun / "campaign.json").read_bytes() == before
        assert states(begun) == ["paused", "waiting"]
        return capsys.readouterr().err

    other_recipe = RECIPES[0].model_copy(update={"seed": 1})
    assert "its folds (hash" in refused(Campaign("tiny", 2, 1, RECIPES), knees)
    other_side = replace(knees[0], side=Side.LEFT if knees[0].side is Side.RIGHT else Side.RIGHT)
    assert "another recipe" in refused(Campaign("tiny", 2, 0, (other_recipe,)), knees)
    assert "not those of the campaign" in refused(CAMPAIGN, [other_side, *knees[1:]])

    swapped = tmp_path / "swapped"
    shutil.copytree(whole, swapped)
    first, _, third, _ = all_jobs(swapped)
    shutil.copy(third.run / "member.json", first.run / "member.json")
    assert kellgren("train", "merge", swapped, "--out", begun) == 2
    assert "is not the run of its plan (different: held_out_fold)" in capsys.readouterr().err


# --- the command ---------------------------------------------------------------------------------


RECIPE = """
name = "small"
batch = 3
precision = "fp32"
stages = [{ epochs = 1, size = 48 }]
network = { architecture = "tiny", pretrained = false }
schedule = { name = "one-cycle", peak_rate = 1e-3 }
targets = { kind = "ordinal" }
augmentation = { mirror = 0.5 }
"""
BROKEN = 'name = "wants-weights"\nchange = { network = { pretrained = true } }\n'


def test_the_command_trains_reports_failures_and_goes_on(
    knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    text = 'name = "mine"\nfolds = { count = 2 }\n[[members]]\nrecipe = "small.toml"\n'
    (tmp_path / "mine.toml").write_text(f'{text}[[members]]\nrecipe = "small.toml"\n{BROKEN}')
    manifest, out = tmp_path / "knees.csv", tmp_path / "out"
    write_manifest(knees, manifest)
    words = ("train", "ensemble", tmp_path / "mine.toml", "--data", manifest, "--out", out)
    assert kellgren(*words) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "2 jobs finished" in output.err
    assert output.err.count("has never been pretrained") == 3  # when it happens, and at the end
    assert "failed: 2 jobs: tiny: has never been pretrained" in output.err
    assert states(out) == ["done", "failed", "done", "failed"]

    (tmp_path / "mine.toml").write_text(text)
    assert kellgren(*words, "--sizes", "48,64") == 0
    assert "2 jobs finished" in capsys.readouterr().err
    assert [short(job) for job in finished_jobs(out)] == [
        f"small-{size}-f{fold}" for fold in (0, 1) for size in (48, 64)
    ]
    assert kellgren(*words, "--sizes", "big") == 2
    assert "224,288,384" in capsys.readouterr().err
    assert kellgren("train", "sizes", tmp_path) == 2
