"""Why a job failed, kept beside the plan until the job is tried again."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from kellgren.files import written_whole
from kellgren.training.campaign.plan import FAILURES, Job


def keep_failure(folder: Path, job: Job, reason: str) -> None:
    """Write down why; a disk too full for that must not hide the reason itself."""
    with suppress(OSError), written_whole(_path(folder, job)) as stream:
        json.dump({"reason": reason}, stream)


def forget_failure(folder: Path, job: Job) -> None:
    """The job is being tried again."""
    _path(folder, job).unlink(missing_ok=True)


def reason_of_failure(folder: Path, job: Job) -> str | None:
    """Why the job's last try failed; ``None``: it did not."""
    try:
        return str(json.loads(_path(folder, job).read_text("utf-8"))["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return "failed for a reason that cannot be read"


def _path(folder: Path, job: Job) -> Path:
    return folder / FAILURES / f"{job.name}.json"
