"""Where no cluster is, or an option goes without one only, words say so; Ray reports no use."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from command_line import EXAMPLES, environment, finished, kellgren
from kellgren.cli.exit_codes import ExitCode
from kellgren.cluster.actors import _cannot_begin
from kellgren.cluster.ray_driver import connected
from kellgren.cluster.software import check_software, software
from kellgren.errors import ClusterError
from kellgren.libraries import ray_without_telemetry

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster")
KNEE = EXAMPLES / "9177337L.png"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "does not answer (Connection refused)"),
        ("ray://head:10001", "is not an address of a cluster"),
        ("head", "is not an address of a cluster"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(
    bundle: Path, address: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert kellgren("grade", KNEE, "--model", bundle, "--ray", address) == ExitCode.USAGE
    told = capfd.readouterr().err
    assert words in told
    assert "Start one with ray start --head" in told or "Give HOST:PORT" in told


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--overlay", "pictures"], "returns rows and no pictures"),
        (["--dicom-out", "answers"], "returns rows and no pictures"),
        (["--device", "cuda"], "grades on processors"),
        (["--pseudonym", "k" * 16], "reads headers on this machine, not at memory://study/1.png"),
    ],
)
def test_what_a_cluster_does_not_return_is_refused(
    option: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    is_folder = option[0] in ("--overlay", "--dicom-out")
    target = [option[0], str(tmp_path / option[1]) if is_folder else option[1]]
    given = ["grade", "memory://study/1.png", "--ray", "local", *target]
    assert kellgren(*given) == ExitCode.USAGE
    assert words in " ".join(capfd.readouterr().err.replace("│", "").split())
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_is_started_here_reports_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray._common.usage import usage_lib

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    seen: dict[str, Any] = {}

    def init(**given: Any) -> None:
        seen.update(given, reports=usage_lib.usage_stats_enabled())

    monkeypatch.setattr(ray, "init", init)
    with connected("local", 3):
        pass
    assert seen["reports"] is False
    assert (seen["num_cpus"], seen["include_dashboard"]) == (3, False)
    assert seen["log_to_driver"] is False
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
    with ray_without_telemetry() as lent:
        assert lent is ray


def test_a_cluster_that_is_started_here_leaves_no_token_behind(tmp_path: Path) -> None:
    """Ray would write one into the home folder, and from then on demand it elsewhere too."""
    words = "from kellgren.cluster.ray_driver import connected\n"
    words += "with connected('local', 1) as ray: print(ray.get(ray.remote(lambda: 7).remote()))"
    env = environment(HOME=str(tmp_path), PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    env.pop("RAY_AUTH_MODE", None)
    assert finished([sys.executable, "-c", words], env).stdout == "7\n"
    assert not (tmp_path / ".ray").exists()


def test_what_a_wrong_token_looks_like_is_told_in_words() -> None:
    error = _cannot_begin("The actor is dead.\nThe actor never ran - it was cancelled before.")
    assert "RAY_AUTH_MODE=disabled" in error.remedy


def test_a_node_with_other_code_or_libraries_is_refused_by_name() -> None:
    here = software()
    assert here.keys() >= {"kellgren", "code", "numpy", "onnxruntime", "pillow"}
    check_software(here, dict(here), "node1")
    for name, words in (("code", "the code of kellgren differs"), ("pillow", "has pillow 0")):
        with pytest.raises(ClusterError, match=f"node node1: {words}"):
            check_software(here, here | {name: "0"}, "node1")
    with pytest.raises(ClusterError, match="has openvino not installed"):
        check_software(here | {"openvino": "1"}, here | {"openvino": "not installed"}, "node1")
