"""A batch on a real Ray cluster of three nodes: what is killed there loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import mortal
import pytest

from bundle_factory import make_bundle
from command_line import EXAMPLES, PATIENCE, environment, kellgren, rows
from kellgren.batch.units import FileToGrade
from kellgren.cluster.actors import MOST_DEATHS
from kellgren.cluster.cluster_workers import ClusterWorkers
from kellgren.cluster.parcel import packed
from kellgren.cluster.ray_driver import connected
from kellgren.cluster.remote_grader import Job, RemoteGrader
from kellgren.cluster.training_jobs import train_on_cluster
from kellgren.data.manifest import Knee
from kellgren.ensemble import Ensemble
from kellgren.errors import ClusterError
from kellgren.grading.contralateral import BothKnees
from kellgren.libraries import ray_without_telemetry
from kellgren.reading_schema import ReadingRow
from kellgren.training.campaign import Campaign, TrainingJob, finished_jobs
from kellgren.training.run_folder import CHECKPOINT
from kellgren.training.runners.runner import run_campaign
from kellgren.training.runners.session import RunnerSession
from kellgren.training.runners.team import TeamWatcher
from kellgren.training.runners.worker import Event
from tiny_training import ONE_CYCLE, assert_same_weights, campaign_that_dies, tiny_recipe

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster"),
    pytest.mark.filterwarnings("default"),  # Ray's own, of streams that it leaves open
]
KNEES = sorted(EXAMPLES.glob("*.png"))
BOTH = BothKnees(sharpness=1.0, agreement=2.0, bias=(0.0,) * 5)
FILMS = 20
OPTIONS: dict[str, Any] = {"threads": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "both", both_knees=BOTH).folder


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to the examples under names of pairs, some damaged, one whose name is no text."""
    folder = tmp_path_factory.mktemp("films")
    for number, knee in enumerate(islice(cycle(KNEES), FILMS)):
        (folder / f"{9000 + number // 2}{'LR'[number % 2]}.png").symlink_to(knee)
    (folder / "damaged.png").write_bytes(KNEES[0].read_bytes()[:999])
    (folder / os.fsdecode(b"na\xffme.png")).symlink_to(KNEES[0])
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of a core each, on this machine."""
    places = [str(Path(mortal.__file__).parent), *sys.path]
    with pytest.MonkeyPatch.context() as patch, ray_without_telemetry():
        from ray.cluster_utils import Cluster

        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
        patch.setenv("RAY_worker_niceness", "0")  # else they wait for all other tests
        small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        spared = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
        made = Cluster(initialize_head=True, head_node_args=small | spared)
        for _ in range(2):
            made.add_node(wait=False, **small)
        made.wait_for_nodes()
    session = made.head_node.get_session_dir_path()
    yield made
    made.shutdown()
    shutil.rmtree(session, ignore_errors=True)


def test_a_killed_worker_node_and_driver_lose_nothing_and_write_nothing_twice(
    cluster: Any, films: Path, model: Path, tmp_path: Path
) -> None:
    table, alone = tmp_path / "ray.csv", tmp_path / "alone.csv"
    journal = tmp_path / ".ray.csv.journal"
    words = ["grade", str(films), "--model", str(model), "--csv", str(table)]
    words += ["--ray", cluster.address]
    lost = next(iter(cluster.worker_nodes))
    raylets = [
        str(node.all_processes["raylet"][0].process.pid) for node in (cluster.head_node, lost)
    ]

    script = [sys.executable, mortal.__file__, *raylets, *words]
    env = environment(PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    driver = subprocess.run(script, env=env, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    cluster.remove_node(lost, allow_graceful=False)

    assert driver.returncode == -signal.SIGKILL, driver.stderr
    assert 14 <= journal.read_bytes().count(b"\n") < FILMS
    assert not table.exists()
    assert kellgren(*words, "--resume", "--workers", "1") == 1
    assert kellgren(*words[:4], "--csv", alone) == 1
    assert table.read_bytes() == alone.read_bytes()
    assert len({row["image"] for row in rows(table)}) == len(rows(table)) == FILMS + 2
    assert sum(row["read_with"] != "" for row in rows(table)) == FILMS
    assert not journal.exists()
    logs = Path(cluster.head_node.get_session_dir_path()) / "logs"
    told = [path for path in logs.rglob("*") if path.is_file() and b"9000L" in path.read_bytes()]
    assert told == []


def graded(
    address: str, ensemble: Ensemble, grader: type[RemoteGrader], images: list[str]
) -> list[ReadingRow]:
    job = Job(OPTIONS, ensemble.model, packed(ensemble.bundle), False, most=1, grader=grader)
    units = ((FileToGrade(image),) for image in images)
    answers = ClusterWorkers(ensemble, address, job).graded(units)
    return [row for rows in answers for row in rows]


def test_a_film_that_ends_its_actors_is_a_row_and_other_versions_are_refused(
    cluster: Any, model: Path, tmp_path: Path
) -> None:
    ensemble = Ensemble.open(model, **OPTIONS)
    deadly = tmp_path / f"9001{mortal.DEADLY}.png"
    deadly.symlink_to(KNEES[0])
    images = [str(deadly), *map(str, KNEES[:2]), KNEES[0].as_uri()]
    found = {
        row.image: row for row in graded(cluster.address, ensemble, mortal.MortalGrader, images)
    }

    assert found.keys() == set(images)
    assert f"ended the process that read it, {MOST_DEATHS} times" in found[str(deadly)].note
    assert [name for name, row in found.items() if row.grade is None] == [str(deadly)]
    as_path = found[str(KNEES[0])].model_copy(update={"image": KNEES[0].as_uri()})
    assert found[KNEES[0].as_uri()] == as_path
    with pytest.raises(ClusterError, match=r"node .* has numpy 1\.0, this machine has"):
        graded(cluster.address, ensemble, mortal.OlderGrader, [str(KNEES[0])])


def test_a_campaign_on_the_cluster_is_that_of_one_machine_although_a_task_is_killed(
    cluster: Any, knees: list[Knee], small_world: None, tmp_path: Path
) -> None:
    recipe = tiny_recipe(ONE_CYCLE, epochs=(2,), name="a")
    campaign, marks = Campaign("tiny", 2, 0, (recipe,)), tmp_path / "marks"
    marks.mkdir()
    notes = Notes()
    with connected(cluster.address, 1) as ray:
        result = train_on_cluster(
            *(ray, campaign, knees, tmp_path / "there", RunnerSession.start(None, 1)),
            watcher=notes,
            work=partial(campaign_that_dies, 1, marks),
        )
    run_campaign(campaign, knees, tmp_path / "here")

    there, here = finished_jobs(tmp_path / "there"), finished_jobs(tmp_path / "here")
    assert [job.name for job in result.finished] == [job.name for job in there]
    assert [job.name for job in there] == [job.name for job in here]
    assert (result.failed, result.paused, result.elsewhere) == ({}, False, [])
    for one, other in zip(there, here, strict=True):
        assert_same_weights(one.run / CHECKPOINT, other.run / CHECKPOINT)
    assert notes.deaths == [(there[0].name, True)]
    assert notes.kinds == ["begins", "begins", "ends", "begins", "ends"]


class Notes(TeamWatcher):
    """Keeps kinds of events, and deaths."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.deaths: list[tuple[str, bool]] = []

    def on_event(self, runner: int, event: Event) -> None:
        self.kinds.append(event.kind)

    def died(self, runner: int, job: TrainingJob | None, how: str, again: bool) -> None:
        assert job is not None
        self.deaths.append((job.name, again))
