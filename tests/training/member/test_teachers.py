"""A run that learns from a teacher learns nothing of the knees it holds out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bundle_factory import SIZE, write_network
from command_line import kellgren
from kellgren.artefacts import file_checksum
from kellgren.data.manifest import Knee, write_manifest
from kellgren.data.splits import Folds
from kellgren.errors import TrainingError
from kellgren.grades import Grade
from kellgren.grading.bundle import default_bundle, open_bundle, write_bundle
from kellgren.grading.combiner import Combiner
from kellgren.grading.preprocess import Preprocess
from kellgren.training.campaign import Campaign, finished_jobs
from kellgren.training.device import Device
from kellgren.training.input.loading import target_table
from kellgren.training.member import soft_targets
from kellgren.training.member.exported import exported_probabilities
from kellgren.training.member.loop import train
from kellgren.training.member.outcome import finish
from kellgren.training.member.prepare import prepare
from kellgren.training.member.run import MemberRun
from kellgren.training.member.soft_targets import by_checkpoint, targets_for, tempered
from kellgren.training.member.teachers import find_teacher
from kellgren.training.recipe import Recipe, Teacher
from kellgren.training.run_folder import CHECKPOINT, HEAD, MODEL
from kellgren.training.runners.runner import run_campaign
from tiny_training import FOLDS, GRADES, ONE_CYCLE, tiny_recipe

pytestmark = pytest.mark.usefixtures("small_world")


def run_of(
    knees: list[Knee], out: Path, fold: int | None, recipe: Recipe | None = None
) -> MemberRun:
    return prepare(
        recipe or tiny_recipe(ONE_CYCLE, epochs=(2,)),
        knees,
        out,
        folds=None if fold is None else FOLDS,
        fold=fold,
        weights_dir=None,
    )


def trained(
    knees: list[Knee], out: Path, fold: int | None, recipe: Recipe | None = None
) -> MemberRun:
    run = run_of(knees, out, fold, recipe)
    assert train(run)
    finish(run, None if fold is None else FOLDS, fold)
    return run


def graded_by_file(run: MemberRun, knees: list[Knee]) -> npt.NDArray[np.float64]:
    """What the run's exported member makes of knees: ``(N, 5)``."""
    preprocess = run.preprocess(run.recipe.final_size)
    return np.stack([*exported_probabilities(run.out / MODEL, run.out / HEAD, preprocess, knees)])


def student(source: Path, **changes: Any) -> Recipe:
    teacher = {"source": str(source), "weight": 1.0} | changes
    return tiny_recipe(ONE_CYCLE, epochs=(1,), name="student", teacher=teacher)


@pytest.fixture(scope="module")
def teacher_runs(
    knees: list[Knee], tmp_path_factory: pytest.TempPathFactory, small_world: None
) -> dict[int | None, MemberRun]:
    """A trained run for each fold held out, and one for none."""
    folder = tmp_path_factory.mktemp("teachers")
    return {fold: trained(knees, folder / f"f{fold}", fold) for fold in (0, 1, None)}


def regraded(knees: list[Knee], fold: int) -> list[Knee]:
    """The same knees with other grades in one fold."""
    held_out = FOLDS.held_out(knees, fold)
    return [
        replace(knee, grade=Grade((GRADES[number] + 2) % 5)) if out else knee
        for number, (knee, out) in enumerate(zip(knees, held_out, strict=True))
    ]


def test_no_label_of_the_held_out_fold_reaches_the_targets_of_the_others(
    knees: list[Knee], teacher_runs: dict[int | None, MemberRun], tmp_path: Path
) -> None:
    """The labels of fold 1 are changed, and all is trained anew, teacher and student."""
    others = regraded(knees, fold=1)
    teacher = trained(others, tmp_path / "teacher", 1)
    with_these = run_of(knees, tmp_path / "a", 1, student(teacher_runs[1].out))
    with_those = run_of(others, tmp_path / "b", 1, student(teacher.out))
    learnt = ~with_these.held_out
    these, those = targets_for(with_these), targets_for(with_those)
    np.testing.assert_array_equal(these[learnt], those[learnt])
    assert not np.array_equal(these[~learnt], those[~learnt])  # they are judged by their labels

    leaking = trained(others, tmp_path / "leaking", 0)  # it learnt from fold 1
    output = [graded_by_file(run, with_these.learnt) for run in (teacher_runs[0], leaking)]
    assert not np.array_equal(*output)  # there was something to leak


@pytest.mark.parametrize(("fold", "named"), [(0, 1), (0, None), (1, None), (None, 0)])
def test_a_teacher_that_held_out_something_else_is_refused(
    knees: list[Knee],
    teacher_runs: dict[int | None, MemberRun],
    tmp_path: Path,
    fold: int | None,
    named: int | None,
) -> None:
    words = {None: "nothing held out", 0: "fold 0 held out", 1: "fold 1 held out"}
    source = teacher_runs[named].out
    expected = rf"{source}: may not teach a run with {words[fold]}.*it has {words[named]}"
    with pytest.raises(TrainingError, match=expected):
        run_of(knees, tmp_path / "run", fold, student(source))
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_a_teacher_of_other_labels_or_other_folds_is_refused(
    knees: list[Knee], teacher_runs: dict[int | None, MemberRun]
) -> None:
    wanted = Teacher(source=str(teacher_runs[1].out))
    with pytest.raises(TrainingError, match="may not teach"):
        find_teacher(wanted, regraded(knees, 0), FOLDS, 1)
    dealt = Folds({patient: 1 - fold for patient, fold in FOLDS.of_patient.items()}, 2, 1)
    with pytest.raises(TrainingError, match="may not teach"):
        find_teacher(wanted, knees, dealt, 1)
    with pytest.raises(TrainingError, match="holds no teacher"):
        find_teacher(Teacher(source=str(teacher_runs[1].out.parent)), knees, FOLDS, 1)


def test_the_targets_are_the_labels_and_the_teachers_in_their_shares(
    knees: list[Knee], teacher_runs: dict[int | None, MemberRun], tmp_path: Path
) -> None:
    recipe = student(teacher_runs[1].out, weight=0.25, temperature=2.0)
    run = run_of(knees, tmp_path, 1, recipe)
    learnt = ~run.held_out
    labels = target_table(recipe.targets, 5)[list(GRADES)]
    teacher = graded_by_file(teacher_runs[1], run.learnt)
    softened = np.sqrt(teacher) / np.sqrt(teacher).sum(axis=1, keepdims=True)
    targets = targets_for(run)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets[learnt], 0.75 * labels[learnt] + 0.25 * softened, atol=1e-6)
    np.testing.assert_array_equal(targets[~learnt], labels[~learnt])
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    without = run_of(knees, tmp_path, 1)
    np.testing.assert_array_equal(targets_for(without), labels)
    np.testing.assert_allclose(tempered(np.array([[1.0, 0, 0, 0, 0]]), 1.0)[0, 0], 1.0, atol=1e-8)


def test_a_teachers_predictions_are_made_once_and_kept_whole(
    knees: list[Knee],
    teacher_runs: dict[int | None, MemberRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = shutil.copytree(teacher_runs[None].out, tmp_path / "teacher")
    run = run_of(knees, tmp_path / "a", None, student(source))
    seen: list[tuple[int, int]] = []
    first = targets_for(run, lambda done, of: seen.append((done, of)))
    assert seen == [(done, 12) for done in range(1, 13)]
    (kept,) = source.glob("teacher-*.npz")

    kept.write_bytes(kept.read_bytes()[:-200])  # as after a disk error
    np.testing.assert_array_equal(targets_for(run), first)

    def never(*_arguments: object) -> None:
        raise AssertionError("graded again")

    monkeypatch.setattr(soft_targets, "_predicted", never)
    np.testing.assert_array_equal(targets_for(run), first)
    again = run_of(knees, tmp_path / "b", None, student(source))
    np.testing.assert_array_equal(targets_for(again), first)


def test_a_checkpoint_says_what_the_exported_file_says(
    knees: list[Knee], teacher_runs: dict[int | None, MemberRun], tmp_path: Path
) -> None:
    run = run_of(knees, tmp_path, 1, student(teacher_runs[1].out))
    assert run.teacher is not None
    (network,) = run.teacher.networks
    output = by_checkpoint(run, network, teacher_runs[1].checkpoint, lambda done, of: None)
    expected = graded_by_file(teacher_runs[1], run.learnt)
    spread = np.ptp(expected, axis=0).max()  # among knees; the network learnt for two epochs
    assert spread > 3e-3
    np.testing.assert_allclose(output, expected, atol=0.05 * spread)
    elsewhere = replace(run, data_hash="of another fold", device=Device("cpu", bf16=False))
    with pytest.raises(TrainingError, match="belongs to another run"):
        by_checkpoint(elsewhere, network, teacher_runs[1].checkpoint, lambda done, of: None)


def test_a_run_goes_on_with_the_teacher_it_began_with_alone(
    knees: list[Knee], teacher_runs: dict[int | None, MemberRun], tmp_path: Path
) -> None:
    source = shutil.copytree(teacher_runs[1].out, tmp_path / "teacher")
    assert train(run_of(knees, tmp_path / "run", 1, student(source)))
    assert train(run_of(knees, tmp_path / "run", 1, student(source)), resume=True)

    shutil.rmtree(source)
    trained(knees, source, 1, tiny_recipe(ONE_CYCLE, epochs=(1,), seed=7))
    with pytest.raises(TrainingError, match=r"another run \(different: teacher\)"):
        train(run_of(knees, tmp_path / "run", 1, student(source)), resume=True)


def test_a_campaign_teaches_a_campaign_fold_by_fold(knees: list[Knee], tmp_path: Path) -> None:
    members = tuple(
        tiny_recipe(ONE_CYCLE, epochs=(1,), name=name, seed=n) for n, name in enumerate(("a", "b"))
    )
    teachers = tmp_path / "teachers"
    assert len(run_campaign(Campaign("teachers", 2, 0, members), knees, teachers).finished) == 4
    students = Campaign("students", 2, 0, (student(teachers),))
    result = run_campaign(students, knees, tmp_path / "students")
    assert len(result.finished) == 2, result.failed
    assert [len(list(job.run.glob("teacher-*.npz"))) for job in finished_jobs(teachers)] == [1] * 4

    first, second = (job for job in finished_jobs(teachers) if job.fold == 0)
    shutil.move(second.run, tmp_path / "aside")
    result = run_campaign(students, knees, tmp_path / "early")
    assert len(result.finished) == 1  # of the fold that is whole
    (reason,) = result.failed.values()
    assert "is not done with fold 0 held out" in reason
    assert second.name in reason

    of_fold_1 = [job for job in finished_jobs(teachers) if job.fold == 1]
    shutil.rmtree(first.run)
    for hidden, honest in zip((first, second), of_fold_1, strict=True):
        shutil.copytree(honest.run, hidden.run)  # they learnt from fold 0, whatever their place
    result = run_campaign(students, knees, tmp_path / "fooled")
    assert [name for name in result.failed if "-f0-" in name]
    assert "may not teach a run with fold 0 held out" in "".join(result.failed.values())


TEACHER = 'name = "teacher"\nfolds = {{ count = 2, seed = 0 }}\nfinals = true\n{members}'
STUDENT = """
name = "{name}"
batch = 3
precision = "fp32"
stages = [{{ epochs = 1, size = 48 }}]
network = {{ architecture = "tiny", pretrained = false }}
schedule = {{ name = "one-cycle", peak_rate = 1e-2 }}
targets = {{ kind = "ordinal" }}
augmentation = {{ mirror = 0.5 }}
"""


def test_a_plan_names_the_teacher_and_its_networks(
    knees: list[Knee], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The campaign that the how-to describes: a shipped recipe's student, and a teacher."""
    (tmp_path / "small.toml").write_text(STUDENT.format(name="small"))
    teacher = tmp_path / "campaign"
    table = f'[members.change.teacher]\nsource = "{teacher}"\nweight = 0.25\n'
    members = f'[[members]]\nrecipe = "small.toml"\n{table}'
    (tmp_path / "student.toml").write_text(TEACHER.format(members=members))
    manifest = tmp_path / "knees.csv"
    write_manifest(knees, manifest)
    words = ("train", "ensemble", tmp_path / "student.toml", "--data", manifest, "--plan")

    assert kellgren(*words) == 1
    assert f"missing: teacher of small at 48: {teacher}, weight 0.25, f0: " in (
        capsys.readouterr().out
    )
    pair = tuple(tiny_recipe(ONE_CYCLE, epochs=(1,), name=name) for name in ("a", "b"))
    assert not run_campaign(Campaign("teacher", 2, 0, pair, finals=True), knees, teacher).failed
    assert kellgren(*words) == 0
    line = f"teacher of small at 48: {teacher}, weight 0.25, networks: f0 2, f1 2, final 2"
    assert line in capsys.readouterr().out


def bundled(run: MemberRun, folder: Path, trained_folds: tuple[int, ...]) -> Path:
    """A bundle of one network."""
    shipped = open_bundle(default_bundle()).card
    member = shipped.members[0].model_copy(
        update={
            "name": "tiny",
            "backbone": "tiny",
            "model": MODEL,
            "head": HEAD,
            "preprocess": run.preprocess(run.recipe.final_size),
            "trained_folds": trained_folds,
        }
    )
    changes = {
        "members": (member,),
        "combiner": Combiner(members=("tiny",), weights=(1.0,)),
        "data": shipped.data.model_copy(update={"folds_hash": FOLDS.hash, "folds": FOLDS.count}),
    }
    write_bundle(
        shipped.model_copy(update=changes), {n: run.out / n for n in (MODEL, HEAD)}, folder
    )
    return folder


def test_a_bundle_teaches_finals_and_folds_that_its_networks_never_saw(
    knees: list[Knee], teacher_runs: dict[int | None, MemberRun], tmp_path: Path
) -> None:
    source = bundled(teacher_runs[1], tmp_path / "bundle", (0,))
    run = run_of(knees, tmp_path / "run", 1, student(source))
    expected = graded_by_file(teacher_runs[1], run.learnt)
    np.testing.assert_allclose(targets_for(run)[~run.held_out], expected, atol=1e-5)
    assert sorted(path.name for path in source.iterdir()) == ["card.json", HEAD, MODEL]
    assert len(run_of(knees, tmp_path / "final", None, student(source)).knees) == len(knees)

    with pytest.raises(TrainingError, match="may not teach a run with fold 0 held out"):
        run_of(knees, tmp_path / "leak", 0, student(source))
    unsaid = bundled(teacher_runs[1], tmp_path / "unsaid", ())
    with pytest.raises(TrainingError, match="may not teach a run with fold 1 held out"):
        run_of(knees, tmp_path / "leak", 1, student(unsaid))
    dealt = Folds({patient: 1 - fold for patient, fold in FOLDS.of_patient.items()}, 2, 1)
    with pytest.raises(TrainingError, match=dealt.hash[:8]):
        find_teacher(Teacher(source=str(source)), knees, dealt, 1)


def test_a_teachers_file_that_was_exchanged_does_not_teach(
    knees: list[Knee], tmp_path: Path
) -> None:
    """What its kept predictions are named by is what made them."""
    write_network(tmp_path, "teacher", seed=0)
    files = tmp_path / "teacher.onnx", tmp_path / "teacher.head.npz"
    sees = Preprocess(size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    looked_at = file_checksum(files[0])
    assert len(list(exported_probabilities(*files, sees, knees[:1], looked_at))) == 1
    write_network(tmp_path, "teacher", seed=1)
    with pytest.raises(TrainingError, match=r"teacher\.onnx: changed since"):
        list(exported_probabilities(*files, sees, knees[:1], looked_at))
