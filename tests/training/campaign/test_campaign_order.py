"""In which order a campaign's jobs are done, what is not begun, and the finals at the end."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from command_line import kellgren
from kellgren.data.manifest import Knee, write_manifest
from kellgren.training.campaign import Campaign, TrainingJob, all_jobs, finished_jobs, read_plan
from kellgren.training.campaign.merge import merge
from kellgren.training.campaign.plan import open_campaign
from kellgren.training.campaign.sizes import compare_sizes
from kellgren.training.campaign.survey import survey
from kellgren.training.runners.runner import CampaignWatcher, run_campaign
from kellgren.training.runners.session import RunnerSession
from tiny_training import ONE_CYCLE, tiny_recipe

pytestmark = pytest.mark.usefixtures("small_world")

A = tiny_recipe(ONE_CYCLE, epochs=(2,), name="a")
B = tiny_recipe(ONE_CYCLE, epochs=(2,), name="b")
WITH_FINALS = Campaign("tiny", 2, 0, (A, B), finals=True, priorities=(0, 1))
ORDER = ["b-f0", "b-f1", "b-final", "a-f0", "a-f1", "a-final"]


def short(job: TrainingJob) -> str:
    return f"{job.member}-{'final' if job.fold is None else f'f{job.fold}'}"


@pytest.fixture(scope="module")
def whole(knees: list[Knee], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with finals, done."""
    folder = tmp_path_factory.mktemp("finals")
    result = run_campaign(WITH_FINALS, knees, folder)
    assert [short(job) for job in result.finished] == ORDER
    return folder


def epochs_take(folder: Path, job: TrainingJob, minutes: float) -> None:
    """Change how long a job says that its epochs took."""
    path = job.run / "log.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    path.write_text("".join(json.dumps(r | {"minutes": minutes}) + "\n" for r in records))
    (folder / "times" / f"{job.name}.json").write_text('{"minutes_beside_epochs": 1.0}')


# --- finals --------------------------------------------------------------------------------------


def test_a_final_learns_from_all_and_is_done_without_predictions(
    whole: Path, knees: list[Knee]
) -> None:
    *_, final = finished_jobs(whole)
    assert final.fold is None
    assert final.name == f"a-48-final-{A.hash[:8]}"
    facts = json.loads((final.run / "member.json").read_text("utf-8"))
    assert (facts["held_out_fold"], facts["knees"]) == (None, len(knees))
    assert facts["folds_hash"] == read_plan(whole).folds_hash
    assert not (final.run / "oof.csv").exists()
    held_out = finished_jobs(whole)[0]
    (held_out.run / "oof.csv").rename(held_out.run / "away.csv")
    assert not held_out.is_finished  # as one that holds something out is not
    (held_out.run / "away.csv").rename(held_out.run / "oof.csv")


def test_status_sizes_and_merge_know_finals(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kellgren("train", "status", whole, "--json", tmp_path / "status.json") == 0
    output = capsys.readouterr().out
    assert "final" in output
    assert "6 of 6 jobs done, nothing left" in output
    jobs = json.loads((tmp_path / "status.json").read_text())["jobs"]
    assert [job["fold"] for job in jobs] == [0, 1, None] * 2
    assert [job["final"] for job in jobs] == [False, False, True] * 2
    assert [member.folds for member in compare_sizes(whole)] == [(0, 1), (0, 1)]
    merged = merge([whole], tmp_path / "new")
    assert sorted(merged.taken) == sorted(job.name for job in all_jobs(whole))
    assert [short(job) for job in finished_jobs(tmp_path / "new")] == ORDER


def test_a_plan_of_before_gets_its_finals(whole: Path, knees: list[Knee], tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "old")
    path = tmp_path / "old" / "campaign.json"
    plan = json.loads(path.read_text("utf-8"))
    plan["format"] = 1
    plan["jobs"] = [job for job in plan["jobs"] if job["fold"] is not None]
    for job in plan["jobs"]:
        del job["priority"]
    path.write_text(json.dumps(plan))
    assert [short(job) for job in all_jobs(path.parent)] == ["b-f0", "b-f1", "a-f0", "a-f1"]
    open_campaign(WITH_FINALS, knees, path.parent)
    assert [short(job) for job in all_jobs(path.parent)] == ORDER
    assert read_plan(path.parent) == read_plan(whole)


def test_priorities_may_change_and_no_job_doubles(knees: list[Knee], tmp_path: Path) -> None:
    def order(*priorities: int) -> list[str]:
        open_campaign(Campaign("tiny", 2, 0, (A, B), False, priorities), knees, tmp_path)
        return [short(job) for job in all_jobs(tmp_path)]

    assert order(0, 0) == ["a-f0", "b-f0", "a-f1", "b-f1"]
    assert order(0, 3) == ["b-f0", "b-f1", "a-f0", "a-f1"]
    assert order(5, 3) == ["a-f0", "a-f1", "b-f0", "b-f1"]


# --- what is not begun ---------------------------------------------------------------------------


class Begun(CampaignWatcher):
    """Notes the jobs that begin."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def job_begins(self, job: TrainingJob, statuses: Any) -> None:
        self.jobs.append(short(job))


@pytest.fixture
def partly(whole: Path, tmp_path: Path) -> Path:
    """Fold 0 of both is done: an epoch of b takes 10 minutes, one of a 3, 1 minute beside."""
    folder = tmp_path / "partly"
    shutil.copytree(whole, folder)
    for job in all_jobs(folder):
        if job.fold == 0:
            epochs_take(folder, job, 10.0 if job.member == "b" else 3.0)
        else:
            shutil.rmtree(job.run)
            (folder / "times" / f"{job.name}.json").unlink()
    return folder


def test_what_is_left_is_told_by_the_sisters_times(partly: Path) -> None:
    left = {short(one.job): one.minutes_left for one in survey(partly)}
    assert left == {
        **{"b-f0": 0.0, "b-f1": 21.0, "b-final": 41.0},  # twice the knees of a fold
        **{"a-f0": 0.0, "a-f1": 7.0, "a-final": 13.0},
    }


def test_a_job_that_cannot_end_in_time_is_not_begun(partly: Path, knees: list[Knee]) -> None:
    begun = Begun()
    session = RunnerSession("s", 45.0, time.monotonic() - 35 * 60)  # ten minutes are left
    result = run_campaign(WITH_FINALS, knees, partly, watcher=begun, session=session)
    # b is more urgent and does not fit; a's final fits as soon as a-f1 was quicker than its sister
    assert begun.jobs == ["a-f1", "a-final"]
    assert result.paused
    assert [short(job) for job in result.finished] == begun.jobs


def test_a_job_half_done_counts_what_remains(partly: Path, knees: list[Knee]) -> None:
    begun = next(job for job in all_jobs(partly) if short(job) == "b-f1")
    only_b = Campaign("tiny", 2, 0, (B,), finals=True, priorities=(1,))
    assert run_campaign(only_b, knees, partly, max_minutes=0).paused  # one epoch of b-f1
    epochs_take(partly, begun, 10.0)
    (partly / "times" / f"{begun.name}.json").unlink()
    left = {short(one.job): one.minutes_left for one in survey(partly)}
    assert left["b-f1"] == pytest.approx(11.0)
    session = RunnerSession("s", 45.0, time.monotonic() - 33 * 60)  # twelve are left
    diary = Begun()
    run_campaign(only_b, knees, partly, watcher=diary, session=session)
    assert diary.jobs == ["b-f1"]


def test_a_job_too_long_for_any_session_is_done_by_epochs(partly: Path) -> None:
    final = next(one for one in survey(partly) if short(one.job) == "b-final")

    def room(most: float, spent: float) -> bool:
        return RunnerSession("s", most, time.monotonic() - spent * 60).fits(final)

    assert final.minutes_left == 41.0
    assert room(45, 3)
    assert not room(45, 5)  # a session of 45 minutes would have had the time
    assert room(40, 10)  # none of 40 has: an epoch is better than none
    assert not room(40, 25)


# --- before anything is trained ------------------------------------------------------------------

RECIPE = """
name = "small"
stages = [{{ epochs = 1, size = 48 }}]
network = {{ architecture = "{architecture}" }}
schedule = {{ name = "one-cycle", peak_rate = 1e-3 }}
targets = {{ kind = "ordinal" }}
augmentation = {{ mirror = 0.5 }}
"""


def test_a_plan_says_every_job_and_weight_and_trains_nothing(
    knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.toml").write_text(RECIPE.format(architecture="resnet101"))
    head = 'name = "mine"\nfolds = { count = 2 }\nfinals = true\n'
    member = '[[members]]\nrecipe = "small.toml"\n'
    (tmp_path / "mine.toml").write_text(head + member)
    manifest = tmp_path / "knees.csv"
    write_manifest(knees, manifest)
    words = ("train", "ensemble", tmp_path / "mine.toml", "--data", manifest)

    assert kellgren(*words, "--plan") == 0
    output = capsys.readouterr().out
    assert "found: small at 48: download: torchvision resnet101" in output
    assert "3 jobs; weights: all 1 found" in output
    for fold in ("f0", "f1", "final"):
        assert f"small-48-{fold}-" in output

    weights = tmp_path / "weights"
    missing = f"missing: small at 48: {weights}: is no folder. Pass --weights-dir"
    assert kellgren(*words, "--plan", "--out", tmp_path / "out", "--weights-dir", weights) == 1
    output = capsys.readouterr().out
    assert missing in output
    assert "1 of 1 cannot be had" in output
    weights.mkdir()
    assert kellgren(*words, "--plan", "--weights-dir", weights) == 0
    reason = "because weights has no resnet101*.safetensors"
    assert f"small at 48: download: torchvision resnet101, {reason}" in capsys.readouterr().out
    (weights / "resnet101.safetensors").write_bytes(b"no tensors")
    assert kellgren(*words, "--plan", "--weights-dir", weights) == 1
    assert "cannot be read as safetensors" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert kellgren(*words) == 2
    assert "--out" in capsys.readouterr().err


def test_campaigns_say_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren("train", "campaigns") == 0
    output = capsys.readouterr().out
    assert "processor: for a processor; 5 folds and a final of each member, 12 jobs" in output
    assert "inception at 288: download: torchvision inception_v3, or inception_v3*" in output
    assert "default: for an accelerator" in output
    assert "shufflenet_v2_x2_0 at 160: random weights" in output


def test_failures_are_told_by_cause_and_nothing_left_is_not_said(
    knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hungry = A.model_copy(update={"network": A.network.model_copy(update={"pretrained": True})})
    result = run_campaign(Campaign("tiny", 2, 0, (hungry,), True), knees, tmp_path)
    assert len(result.failed) == 3
    assert kellgren("train", "status", tmp_path) == 0
    output = capsys.readouterr().out
    assert output.count("has never been pretrained") == 1
    assert "failed: 3 jobs: tiny: has never been pretrained" in output
    assert "0 of 3 jobs done, 3 failed, time of 3 unknown" in output
    assert "0 min left" not in output
    assert "nothing left" not in output
