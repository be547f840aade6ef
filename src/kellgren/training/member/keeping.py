"""When a run is written down: after every epoch, or by the clock where epochs take seconds."""

from __future__ import annotations

import json
import math
import time

from kellgren.atomic_files import written_whole
from kellgren.training.kept_epochs import forget_epochs_from
from kellgren.training.member.checkpoint import (
    RunState,
    Weights,
    read_history,
    save_checkpoint,
    save_weights,
    weights_of,
)
from kellgren.training.member.epochs import keep_epoch, keeps_epochs
from kellgren.training.member.run import MemberRun
from kellgren.training.member.schedule import stopping_losses
from kellgren.training.recipe import HeadThenAll
from kellgren.training.run_folder import LOG

SAVE_EVERY_S = 300.0
"""Seconds of an accelerator's work that a kill may cost.

An epoch takes seconds there, and writing a checkpoint of up to 800 MB with its checksum up to four:
after every epoch that would be as long as the epoch. On a processor an epoch takes minutes.
"""


class Keeper:
    """Keeps a run's checkpoint, its best weights and its log, which always tell of the same epochs.

    Args:
        run: whose folder.
        done: epochs that its checkpoint holds; 0: the run is a new one.
    """

    def __init__(self, run: MemberRun, *, done: int) -> None:
        self._run = run
        self._kept_at = time.monotonic()
        self._is_behind = False
        self._best: Weights | None = None
        self._lowest = _lowest_kept(run) if done else math.inf
        forget_epochs_from(run.out, done + 1)

    def epoch_ended(self, state: RunState) -> None:
        """Take note of an epoch's end, and write if it is time to.

        Raises:
            CannotKeep: a file cannot be written.
        """
        self._is_behind = True
        schedule = self._run.recipe.schedule
        if keeps_epochs(self._run):
            keep_epoch(self._run, state)
        if isinstance(schedule, HeadThenAll):
            losses = stopping_losses(schedule, state.history[-1:])
            loss = losses[0] if losses else 0.0  # none to judge: the last is best
            if loss <= self._lowest:
                self._lowest, self._best = loss, weights_of(state)
        waited = time.monotonic() - self._kept_at
        if self._run.device.is_processor or waited >= SAVE_EVERY_S:
            self.keep(state)

    def keep(self, state: RunState) -> None:
        """Write what is not written yet, the state being that of an epoch's end.

        The best comes first: killed before the checkpoint is there, the run does the epochs since
        the last one again. Where they come out otherwise, on an accelerator, the best stays the
        epoch with the lowest loss of all that were ever done.

        Raises:
            CannotKeep: a file cannot be written.
        """
        if not self._is_behind:
            return
        if self._best is not None:
            save_weights(self._best, self._run.identity, self._run.best)
        save_checkpoint(state, self._run.identity, self._run.checkpoint)
        with written_whole(self._run.out / LOG) as stream:
            stream.writelines(json.dumps(record) + "\n" for record in state.history)
        self._best, self._is_behind, self._kept_at = None, False, time.monotonic()


def _lowest_kept(run: MemberRun) -> float:
    if not run.best.is_file():
        return math.inf
    history = read_history(run.best, run.identity)
    schedule = run.recipe.schedule
    losses = stopping_losses(schedule, history) if isinstance(schedule, HeadThenAll) else []
    return min(losses, default=0.0)
