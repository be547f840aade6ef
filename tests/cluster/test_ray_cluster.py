"""A batch on a real Ray cluster of three nodes: what is killed there loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import mortal
import pytest

from bundle_factory import make_bundle
from command_line import EXAMPLES, PATIENCE, environment, kellgren, rows
from kellgren.batch.units import FileToGrade
from kellgren.cluster.actors import MOST_DEATHS, Job
from kellgren.cluster.cluster_workers import ClusterWorkers
from kellgren.cluster.parcel import packed
from kellgren.cluster.remote_grader import RemoteGrader
from kellgren.ensemble import Ensemble
from kellgren.errors import ClusterError
from kellgren.grading.contralateral import BothKnees
from kellgren.library_messages import ray_without_telemetry
from kellgren.reading_schema import ReadingRow

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster"),
    pytest.mark.filterwarnings("default"),  # Ray's own, of streams that it leaves open
]
KNEES = sorted(EXAMPLES.glob("*.png"))
BOTH = BothKnees(sharpness=1.0, agreement=2.0, bias=(0.0,) * 5)
FILMS = 28
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
    yield made
    made.shutdown()


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
    assert 20 <= journal.read_bytes().count(b"\n") < FILMS
    assert not table.exists()
    assert kellgren(*words, "--resume") == 1
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
    job = Job(OPTIONS, ensemble.model, packed(ensemble.bundle), False, grader=grader)
    units = ((FileToGrade(image),) for image in images)
    answers = ClusterWorkers(ensemble, address, job).graded(units)
    return [row for rows in answers for row in rows]


def test_a_film_that_ends_its_actors_is_a_row_and_other_versions_are_refused(
    cluster: Any, model: Path, tmp_path: Path
) -> None:
    ensemble = Ensemble.open(model, **OPTIONS)
    deadly = tmp_path / f"9001{mortal.DEADLY}.png"
    deadly.symlink_to(KNEES[0])
    images = [str(deadly), *map(str, KNEES[:3])]
    found = {
        row.image: row for row in graded(cluster.address, ensemble, mortal.MortalGrader, images)
    }

    assert found.keys() == set(images)
    assert f"ended the process that read it, {MOST_DEATHS} times" in found[str(deadly)].note
    assert [name for name, row in found.items() if row.grade is None] == [str(deadly)]
    with pytest.raises(ClusterError, match=r"node .* has numpy 1\.0, this machine has"):
        graded(cluster.address, ensemble, mortal.OlderGrader, [str(KNEES[0])])
