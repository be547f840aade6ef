"""Forward and backward of a batch, recorded once on a GPU and replayed: its host asks once a step.

A step of a deep network is thousands of small kernels. Where the host asks for each of them, the
GPU waits for the host: 36 ms a step of 32 knees, and 25 where they are recorded as a CUDA graph
(docs/measurements/training-on-a-gpu.md,
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

GRAPHS = "KELLGREN_CUDA_GRAPHS"
"""Environment variable: ``0`` asks for each kernel of each step, as on a processor."""

_WARM_UP = 3  # steps before a recording: libraries choose their kernels and take their memory

Gradients = Callable[[Tensor, Tensor], Tensor]
"""From images and targets to the loss, a scalar on the device; leaves the gradients behind."""


def gradients_of(network: nn.Module, loss_of: Gradients) -> Gradients:
    """How a network's gradients are computed: recorded where it lies on a GPU, else step by step.

    Args:
        network: in training mode whenever the result is called. Which of its weights have
            gradients must not change: ask anew then.
        loss_of: images and targets to the loss, with its graph; nothing in it waits for the device.
    """

    def step_by_step(images: Tensor, targets: Tensor) -> Tensor:
        network.zero_grad(set_to_none=True)
        loss = loss_of(images, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    on_gpu = next(network.parameters()).is_cuda
    if not on_gpu or os.environ.get(GRAPHS) == "0":
        return step_by_step
    return RecordedStep(network, step_by_step)


@dataclass(frozen=True)
class _Recording:
    """A step in a GPU's memory: what it reads, and what it leaves."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    targets: Tensor
    loss: Tensor
    gradients: list[tuple[nn.Parameter, Tensor | None]]

    def replay(self, images: Tensor, targets: Tensor) -> Tensor:
        self.images.copy_(images)
        self.targets.copy_(targets)
        for weight, gradient in self.gradients:
            weight.grad = gradient  # a step of another shape puts its own in their place
        self.graph.replay()
        return self.loss.clone()


class RecordedStep:
    """A step for batches of one shape, recorded at the first; others are computed step by step.

    The recording takes three steps on that batch, which move the batch statistics but no weight.
    A GPU that refuses is told of, and asked for each kernel.
    """

    def __init__(self, network: nn.Module, step_by_step: Gradients) -> None:
        self._network = network
        self._step_by_step = step_by_step
        self._recording: _Recording | None = None
        self._refused = False

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss ``()`` of a batch; its gradients lie in the network's weights."""
        if self._recording is None and not self._refused:
            self._recording = self._try_to_record(images, targets)
        if self._recording is None or images.shape != self._recording.images.shape:
            return self._step_by_step(images, targets)
        return self._recording.replay(images, targets)

    def _try_to_record(self, images: Tensor, targets: Tensor) -> _Recording | None:
        try:
            return self._record(images.clone(), targets.clone())
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._refused = True
            reason = str(error).partition("\n")[0]
            warnings.warn(f"the GPU does not record a step ({reason})", stacklevel=2)
            return None

    def _record(self, images: Tensor, targets: Tensor) -> _Recording:
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                self._step_by_step(images, targets)
        torch.cuda.current_stream().wait_stream(beside)
        self._network.zero_grad(set_to_none=True)  # the recording's own memory takes them
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._step_by_step(images, targets)
        learning = [weight for weight in self._network.parameters() if weight.grad is not None]
        gradients = [(weight, weight.grad) for weight in learning]
        return _Recording(graph, images, targets, loss, gradients)
