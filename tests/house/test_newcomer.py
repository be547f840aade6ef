"""The quick part of `scripts/newcomer.sh`: odd places, without a clone and an environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundle_factory import make_bundle
from command_line import PATIENCE, ROOT, environment

SCRIPT = ROOT / "scripts" / "newcomer.sh"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("bash") is None, reason="a script for Linux"
)


def newcomer(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the quick part with a command in place of `kellgren`."""
    return subprocess.run(
        ["bash", str(SCRIPT), "--quick", *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
        env=environment(**variables),
        check=False,
    )


def test_odd_places_end_without_a_traceback_and_account_for_every_file(tmp_path: Path) -> None:
    model = make_bundle(tmp_path / "tiny").folder
    done = newcomer(sys.executable, "-m", "kellgren", KELLGREN_MODEL=str(model))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout
    assert done.stdout.count("fine: ") >= 4


def test_a_command_that_breaks_is_noticed() -> None:
    broken = "raise SystemExit(1)"
    done = newcomer(sys.executable, "-c", broken)
    assert done.returncode == 1
    assert done.stdout.count("WRONG: ") >= 4
