"""A run that was killed, stopped or starved of disk ends in the weights of one that was not."""

from __future__ import annotations

import json
import signal
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.training.member.checkpoint import FORMAT, read_history
from kellgren.training.member.loop import train
from kellgren.training.member.run import MemberRun, trained_network
from tiny_training import (
    HEAD_THEN_ALL,
    ONE_CYCLE,
    STEPS,
    assert_same_weights,
    copied_knees,
    metadata,
    processes_that_know,
    tensors,
    tiny_recipe,
    tiny_run,
    train_on_a_full_disk,
    train_on_a_leash,
)

PATIENCE = 300  # seconds: only a hang takes so long, however busy the machine
RECIPE = tiny_recipe(ONE_CYCLE, epochs=(3, 3))
PAPER = tiny_recipe(HEAD_THEN_ALL, epochs=(4,))


pytestmark = pytest.mark.usefixtures("small_world")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    return processes_that_know("kellgren.training.member.loop")


@pytest.fixture(scope="module")
def whole(knees: list[Knee], tmp_path_factory: pytest.TempPathFactory) -> MemberRun:
    """A run that nothing disturbed."""
    run = tiny_run(RECIPE, knees, tmp_path_factory.mktemp("whole"))
    assert train(run)
    return run


@pytest.fixture
def begun(knees: list[Knee], tmp_path: Path) -> MemberRun:
    """A run of which one epoch is done."""
    run = tiny_run(RECIPE, knees, tmp_path / "run")
    assert not train(run, max_minutes=0)
    return run


def scores(path: Path) -> list[dict[str, float]]:
    """The history of a checkpoint, but for the time that it took."""
    history = json.loads(metadata(path)["history"])
    return [{key: v for key, v in record.items() if key != "minutes"} for record in history]


def killed_after(steps: int, pause: float, run: MemberRun, context: ForkServerContext) -> int:
    """Train for some steps and a pause in a process of its own, kill it; its exit code."""
    ours, theirs = context.Pipe()
    process = context.Process(target=train_on_a_leash, args=(run, theirs))
    process.start()
    theirs.close()
    for _ in range(steps):
        assert ours.poll(PATIENCE)
        assert ours.recv() == "step"
        ours.send("go on")
    time.sleep(pause)
    process.kill()
    process.join(PATIENCE)
    ours.close()
    return process.exitcode or 0


def test_a_run_killed_five_times_ends_in_the_same_weights(
    knees: list[Knee], whole: MemberRun, processes: ForkServerContext, tmp_path: Path
) -> None:
    run = tiny_run(RECIPE, knees, tmp_path / "run")
    chance = np.random.default_rng(5)
    done = 0
    for _ in range(5):
        steps = int(chance.integers(1, 2 * STEPS))  # the next one, or the epoch's end, meets death
        code = killed_after(steps, chance.uniform(0, 0.03), run, processes)
        assert code == -signal.SIGKILL
        before, done = done, len(scores(run.checkpoint)) if run.checkpoint.exists() else 0
        assert before + (steps - 1) // STEPS <= done <= before + steps // STEPS
    assert 0 < done < RECIPE.epochs

    assert train(run, resume=True)
    assert_same_weights(run.checkpoint, whole.checkpoint)
    assert scores(run.checkpoint) == scores(whole.checkpoint)
    log = (run.out / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in log] == list(range(1, RECIPE.epochs + 1))


def test_a_run_stopped_after_every_epoch_ends_in_the_same_weights(
    knees: list[Knee], whole: MemberRun, tmp_path: Path
) -> None:
    run = tiny_run(RECIPE, knees, tmp_path / "run")
    lives = 1
    while not train(run, resume=True, max_minutes=0):
        assert len(scores(run.checkpoint)) == lives
        torch.manual_seed(lives)  # chance from elsewhere must not matter
        lives += 1

    assert lives == RECIPE.epochs
    assert_same_weights(run.checkpoint, whole.checkpoint)
    assert scores(run.checkpoint) == scores(whole.checkpoint)
    assert {record["size"] for record in scores(run.checkpoint)} == {48, 64}


def test_the_papers_schedule_starts_afresh_after_a_stop_as_without_one(
    knees: list[Knee], tmp_path: Path
) -> None:
    straight, stopped = (tiny_run(PAPER, knees, tmp_path / name) for name in ("one", "two"))
    assert train(straight)
    while not train(stopped, resume=True, max_minutes=0):
        pass

    assert_same_weights(stopped.checkpoint, straight.checkpoint)
    assert_same_weights(stopped.best, straight.best)
    assert scores(stopped.best) == scores(straight.best)


def test_a_finished_run_is_left_as_it_is(whole: MemberRun) -> None:
    before = whole.checkpoint.read_bytes()
    assert train(whole, resume=True, max_minutes=0)
    assert whole.checkpoint.read_bytes() == before


def test_another_seed_gives_other_weights(
    knees: list[Knee], whole: MemberRun, tmp_path: Path
) -> None:
    run = tiny_run(tiny_recipe(ONE_CYCLE, epochs=(3, 3), seed=7), knees, tmp_path)
    train(run)
    with pytest.raises(AssertionError):
        assert_same_weights(run.checkpoint, whole.checkpoint)


# --- what is refused -----------------------------------------------------------------------------


def test_a_run_is_never_begun_over_another(begun: MemberRun) -> None:
    with pytest.raises(TrainingError, match=r"holds a run already.*--resume"):
        train(begun)


def test_a_full_disk_is_named_and_the_last_checkpoint_kept(
    begun: MemberRun, processes: ForkServerContext
) -> None:
    before = begun.checkpoint.read_bytes()
    ours, theirs = processes.Pipe()
    arguments = (begun, len(before) // 2, theirs)
    process = processes.Process(target=train_on_a_full_disk, args=arguments)
    process.start()
    assert ours.poll(PATIENCE)
    output = ours.recv()
    process.join(PATIENCE)

    assert output.startswith(f"{begun.checkpoint}: the checkpoint cannot be written")
    assert "disk space" in output
    assert "--resume" in output
    assert begun.checkpoint.read_bytes() == before
    assert not list(begun.out.glob(".*"))
    assert train(begun, resume=True)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(begun: MemberRun, share: float) -> None:
    whole = begun.checkpoint.read_bytes()
    begun.checkpoint.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors: is not a whole checkpoint"):
        train(begun, resume=True)
    with pytest.raises(TrainingError, match="Delete it and start again"):
        trained_network(begun)


def test_a_flipped_bit_is_refused_wherever_it_is(begun: MemberRun) -> None:
    whole = begun.checkpoint.read_bytes()
    chance = np.random.default_rng(0)
    in_the_header, anywhere = chance.integers(0, 2000, 20), chance.integers(0, len(whole), 20)
    for position in [*in_the_header, *anywhere, len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(chance.integers(8))
        begun.checkpoint.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"checkpoint\.safetensors: "):
            train(begun, resume=True)


def test_a_checkpoint_without_its_checksum_is_refused(begun: MemberRun) -> None:
    kept = {key: v for key, v in metadata(begun.checkpoint).items() if key != "sha256"}
    save_file(tensors(begun.checkpoint), begun.checkpoint, kept)
    with pytest.raises(TrainingError, match="the checksum is missing or does not fit"):
        train(begun, resume=True)


def test_a_newer_checkpoint_is_refused(begun: MemberRun) -> None:
    newer = metadata(begun.checkpoint) | {"format": str(FORMAT + 1)}
    save_file(tensors(begun.checkpoint), begun.checkpoint, newer)
    with pytest.raises(TrainingError, match=r"has another checkpoint format.*new folder"):
        read_history(begun.checkpoint, begun.identity)


def test_a_checkpoint_of_another_run_is_refused(begun: MemberRun, knees: list[Knee]) -> None:
    other_recipe = tiny_run(tiny_recipe(ONE_CYCLE, epochs=(3, 4)), knees, begun.out)
    other_fold = tiny_run(RECIPE, knees, begun.out, fold=0)
    fewer_knees = tiny_run(RECIPE, knees[1:], begun.out)
    for other, different in ((other_recipe, "recipe"), (other_fold, "data"), (fewer_knees, "data")):
        with pytest.raises(TrainingError, match=rf"another run \(different: {different}\)"):
            train(other, resume=True)


def test_moved_data_is_the_same_data(begun: MemberRun, whole: MemberRun, tmp_path: Path) -> None:
    moved = tiny_run(RECIPE, copied_knees(tmp_path / "elsewhere"), begun.out)
    assert train(moved, resume=True)
    assert_same_weights(moved.checkpoint, whole.checkpoint)
