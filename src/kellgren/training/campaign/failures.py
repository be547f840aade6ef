"""Why a job failed, kept beside the plan until the job is tried again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kellgren.atomic_files import written_whole
from kellgren.training.campaign.plan import FAILURES, JOBS, TrainingJob


def keep_failure(folder: Path, job: TrainingJob, reason: str, session: str) -> None:
    """Write down why; a disk too full for that must not hide the reason itself.

    Args:
        folder: of the campaign.
        job: that failed.
        reason: a sentence.
        session: whose runners shall not try the job again.
    """
    with suppress(OSError), written_whole(_path(folder, job)) as stream:
        json.dump({"reason": reason, "session": session}, stream)


def has_failed_in(folder: Path, job: TrainingJob, session: str) -> bool:
    """Whether one of a session's runners has tried the job and failed."""
    try:
        return bool(json.loads(_path(folder, job).read_text("utf-8"))["session"] == session)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def forget_failure(folder: Path, job: TrainingJob) -> None:
    """The job is being tried again."""
    _path(folder, job).unlink(missing_ok=True)


def reason_of_failure(folder: Path, job: TrainingJob) -> str | None:
    """Why the job's last try failed; ``None``: it did not."""
    try:
        return str(json.loads(_path(folder, job).read_text("utf-8"))["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return "failed for a reason that cannot be read"


def by_cause(problems: Mapping[str, str], folder: Path) -> dict[str, list[str]]:
    """Failed jobs grouped by why they failed.

    Args:
        problems: reasons by the job's name.
        folder: of the campaign.

    Returns:
        Names by cause; a job's own folder in the reason becomes ``JOB`` where several
        share it.
    """
    groups: dict[str, list[str]] = {}
    for name, reason in problems.items():
        general = reason.replace(str(folder / JOBS / name), "JOB").replace(name, "JOB")
        groups.setdefault(general, []).append(name)
    return {
        problems[names[0]] if len(names) == 1 else cause: names for cause, names in groups.items()
    }


def _path(folder: Path, job: TrainingJob) -> Path:
    return folder / FAILURES / f"{job.name}.json"
