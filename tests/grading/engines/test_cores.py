"""A network computes on the cores that this process may use, and has the time of."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest

from command_line import finished
from kellgren.grading.engines import processor

PROGRAM = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from kellgren import Ensemble
ensemble = Ensemble.default()
ensemble.read_film("examples/9103968L.png")
print({len(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")})
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="has no affinity")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="has one core")
def test_threads_stay_on_the_cores_that_are_given() -> None:
    assert finished([sys.executable, "-c", PROGRAM]).stdout.strip() == "{1}"


@pytest.mark.parametrize(
    ("listed", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/docker/7f\n", {"cpu.max": "400000 100000"}, 4.0),  # a container's own is the topmost
        (
            "4:memory:/x\n3:cpu,cpuacct:/docker/7f\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
            3.0,
        ),
        (
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            math.inf,
        ),
        ("", {}, math.inf),
    ],
)
def test_a_container_has_the_time_of_some_cores(
    listed: str, files: dict[str, str], cores: float, tmp_path: Path
) -> None:
    own_groups = tmp_path / "cgroup"
    own_groups.write_text(listed)
    for name, content in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    assert processor.cpu_quota(own_groups, tmp_path / "groups") == cores


@pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (1.2, 2), (math.inf, 4)])
def test_no_more_cores_are_used_than_there_is_time_of(
    quota: float, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(processor, "cpu_quota", lambda: quota)
    assert processor.usable_cores() == cores
