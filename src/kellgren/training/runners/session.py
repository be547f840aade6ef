"""One command's share of a campaign: how long it may take, and what fits in."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from kellgren.training.campaign.survey import JobStatus


@dataclass(frozen=True)
class RunnerSession:
    """What all runners of one command share.

    Attributes:
        name: unlike that of any other session; failures carry it, so that a job that one runner
            tried and failed is not tried by the next.
        max_minutes: for all runners together; ``None``: no limit.
        began: seconds of ``time.monotonic``, which all processes of a machine share.
        runners: how many.
    """

    name: str
    max_minutes: float | None
    began: float
    runners: int = 1

    @classmethod
    def start(cls, max_minutes: float | None, runners: int = 1) -> RunnerSession:
        """A session that begins now."""
        return cls(uuid.uuid4().hex, max_minutes, time.monotonic(), runners)

    @property
    def minutes_left(self) -> float | None:
        """Negative where the time is over; ``None``: no limit."""
        if self.max_minutes is None:
            return None
        return self.max_minutes - (time.monotonic() - self.began) / 60

    def fits(self, status: JobStatus) -> bool:
        """Whether a job should be begun, or gone on with, in the time that is left.

        A job that would end in a whole session is left to one that has the time. One that is too
        long for any such session is done by epochs, session by session.
        """
        left, needed = self.minutes_left, status.minutes_left
        if left is None or self.max_minutes is None:
            return True
        if needed is None:
            return left > 0
        if needed <= left:
            return True
        epochs = status.job.recipe.epochs - status.epochs_done
        return needed > self.max_minutes and bool(epochs) and left >= needed / epochs
