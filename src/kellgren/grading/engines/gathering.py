"""Several callers' inputs in one call of a network, where that is faster: on a GPU."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.grading.engines.network_ends import Infer, NetworkOutputs

MOST_LOOKS = 32
"""In one call: 16 knees with their mirror images."""


class _Waiting:
    """One caller's input, and what becomes of it."""

    def __init__(self, images: Float32Array) -> None:
        self.images = images
        self.outputs: NetworkOutputs | None = None
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.outputs is not None or self.error is not None


class Gathering:
    """Runs together what callers ask for while a call runs: batches form by themselves.

    Nobody waits for a batch to fill: a caller alone is served at once, as without this.

    Args:
        infer: runs the network; called by one thread at a time.
        most: looks in one call, unless one caller alone brings more.
    """

    def __init__(self, infer: Infer, most: int = MOST_LOOKS) -> None:
        self._infer = infer
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._queue = threading.Lock()
        self._running = threading.Lock()

    def __call__(self, images: Float32Array) -> NetworkOutputs:
        """The outputs for one caller's input; an error of a batch is each of its callers'."""
        own = _Waiting(images)
        with self._queue:
            self._waiting.append(own)
        with self._running:
            while not own.is_done:
                self._run(self._next())
        if own.error is not None:
            raise own.error
        assert own.outputs is not None
        return own.outputs

    def _next(self) -> list[_Waiting]:
        """The first that wait, as many as fit into one call."""
        with self._queue:
            batch = [self._waiting.popleft()]
            looks = len(batch[0].images)
            while self._waiting and looks + len(self._waiting[0].images) <= self._most:
                looks += len(self._waiting[0].images)
                batch.append(self._waiting.popleft())
        return batch

    def _run(self, batch: list[_Waiting]) -> None:
        try:
            together = batch[0].images
            if len(batch) > 1:
                together = np.concatenate([one.images for one in batch])
            outputs = self._infer(together)
        except Exception as error:  # whatever a native library raises is for those who wait, too
            for one in batch:
                one.error = error
            return
        ends = np.cumsum([len(one.images) for one in batch])
        for one, end in zip(batch, ends, strict=True):
            part = slice(int(end) - len(one.images), int(end))
            logits, features, unactivated = outputs
            one.outputs = (
                logits[part],
                features[part],
                None if unactivated is None else unactivated[part],
            )
