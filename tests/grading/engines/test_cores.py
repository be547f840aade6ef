"""A network computes on the cores that this process may use, and on no other."""

from __future__ import annotations

import os
import sys

import pytest

from command_line import finished

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
