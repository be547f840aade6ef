"""Predictions of a network, on the device that it was trained on, and their table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee
from kellgren.grades import GRADE_COUNT
from kellgren.grading.preprocess import Preprocess
from kellgren.training.architectures import Member
from kellgren.training.input.cache import Store
from kellgren.training.run_folder import LABEL

COLUMNS = ("image", "side", "grade", "p0", "p1", "p2", "p3", "p4", "fold", LABEL)
_BATCH = 32
Advance = Callable[[int, int], None]


def predict(
    network: Member,
    store: Store,
    chosen: npt.NDArray[np.int64],
    preprocess: Preprocess,
    device: str,
    advance: Advance = lambda done, of: None,
) -> npt.NDArray[np.float64]:
    """Look at knees and at their mirror images in float32, as `MemberRuntime.examine` does.

    Grades come from planes that are exact: rounded to steps of 1/255, one knee in a hundred would
    be graded otherwise than `kellgren grade` grades it.

    Args:
        network: in evaluation mode; it is left on the device.
        store: of the knees at the network's size.
        chosen: ``(n,)`` positions in it.
        preprocess: of the member.
        device: ``cpu`` or ``cuda``.
        advance: called with how many of how many are done.

    Returns:
        Logits ``(n, 2, 5)``: of the look at the knee, and of the look at its mirror image.
    """
    network = network.to(device).to(memory_format=torch.channels_last)
    logits_of_views = np.empty((len(chosen), 2, GRADE_COUNT))
    with torch.inference_mode(), _whole_float32():
        for start in range(0, len(chosen), _BATCH):
            part = chosen[start : start + _BATCH]
            planes = torch.from_numpy(store.exact(part)).to(device)
            views = _normalised(torch.stack([planes, planes.flip(-1)], dim=1), preprocess)
            logits = network(views).double().view(len(part), 2, GRADE_COUNT)
            logits_of_views[start : start + len(part)] = logits.cpu().numpy()
            advance(start + len(part), len(chosen))
    return logits_of_views


def write_predictions(
    knees: Sequence[Knee], probabilities: npt.NDArray[np.float64], fold: int, path: Path
) -> None:
    """Write a table of held-out knees, whole or not at all.

    It has the columns that ``grade --csv`` begins with, the fold, and the label of the training.

    Args:
        knees: N, held out.
        probabilities: ``(N, 5)``.
        fold: that held them out.
        path: of the table.
    """
    with written_whole(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for knee, row in zip(knees, probabilities, strict=True):
            numbers = [f"{p:.6f}" for p in row]
            graded = (int(row.argmax()), *numbers, fold, int(knee.grade or 0))
            writer.writerow((knee.image, knee.side.value, *graded))


@contextmanager
def _whole_float32() -> Iterator[None]:
    """A GPU rounds the factors of convolutions to 10 bits, and of products where it is set to."""
    products = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(products)


def _normalised(views: Tensor, preprocess: Preprocess) -> Tensor:
    """``(n, 2, S, S)`` in 0..1 to ``(2 n, 3, S, S)``, by `Preprocess.normalise`'s arithmetic."""
    mean = views.new_tensor(preprocess.mean).view(1, 3, 1, 1)
    std = views.new_tensor(preprocess.std).view(1, 3, 1, 1)
    images = (views.flatten(0, 1)[:, None] - mean) / std
    return images.contiguous(memory_format=torch.channels_last)
