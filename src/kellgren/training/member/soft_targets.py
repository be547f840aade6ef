"""What the loss compares with: the label's distribution, mixed with a teacher's where there is one.

A teacher's predictions are computed once and kept beside it, for all runs that learn from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from kellgren.arrays import Distributions, Float32Array
from kellgren.artefacts import MOST_FILE_BYTES
from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.grades import GRADE_COUNT
from kellgren.grading.voting import softmax
from kellgren.model_files.npz import npz_arrays
from kellgren.model_files.regular import read_regular
from kellgren.training.architectures import find
from kellgren.training.input.loading import load_planes, target_table
from kellgren.training.member.checkpoint import load_learnt_weights
from kellgren.training.member.exported import exported_probabilities
from kellgren.training.member.run import MemberRun
from kellgren.training.member.teachers import TeacherNetwork, TeacherNetworks
from kellgren.training.run_folder import BEST, CHECKPOINT, FACTS

_BATCH = 64
Advance = Callable[[int, int], None]


def targets_for(run: MemberRun, advance: Advance = lambda done, of: None) -> Float32Array:
    """The targets of a run's knees.

    Knees that are not learnt from have their label's distribution, with or without a teacher: they
    are judged by their labels alone.

    Args:
        run: to be trained.
        advance: called with how many knees of how many the teacher has graded; not called where its
            predictions are known already.

    Returns:
        ``(N, 5)``, rows sum to 1, in the order of the run's knees.

    Raises:
        UnreadableRadiograph: a knee that does not decode.
        TrainingError: what the teacher's run left is damaged.
    """
    grades = np.array([int(knee.grade or 0) for knee in run.knees])
    targets: Float32Array = target_table(run.recipe.targets, GRADE_COUNT)[grades]
    if run.teacher is not None and run.recipe.teacher is not None:
        settings = run.recipe.teacher
        learnt = run.learns_from
        distributions = tempered(_combined(run, run.teacher, advance), settings.temperature)
        mixed = (1 - settings.weight) * targets[learnt] + settings.weight * distributions
        targets[learnt] = mixed / mixed.sum(axis=1, keepdims=True)
    return targets


def tempered(
    probabilities: npt.NDArray[np.floating], temperature: float
) -> npt.NDArray[np.float64]:
    """Distributions ``(N, 5)`` flattened (above 1) or sharpened (below 1): p^(1/T), normalised."""
    return softmax(np.log(np.maximum(probabilities, 1e-9)) / temperature)


def _combined(run: MemberRun, teacher: TeacherNetworks, advance: Advance) -> Distributions:
    """The plain mean of the backbones, each the mean of its networks: ``(learnt knees, 5)``.

    No combiner is used, for it would have been fitted to labels of the held-out fold too.
    """
    by_backbone: dict[str, list[Float32Array]] = {}
    total = len(teacher.networks) * len(run.learnt)
    for number, network in enumerate(teacher.networks):
        before = number * len(run.learnt)

        def report(done: int, of: int, before: int = before) -> None:
            advance(before + done, total)

        by_backbone.setdefault(network.backbone, []).append(_kept(run, network, report))
    mean: Distributions = np.mean(
        [np.mean(predictions, axis=0, dtype=np.float64) for predictions in by_backbone.values()],
        axis=0,
    )
    return mean


def _kept(run: MemberRun, network: TeacherNetwork, advance: Advance) -> Float32Array:
    """A network's predictions of the learnt knees, from where they are kept or made and kept.

    They lie in the run that made the network; a bundle's, which may not be writable, in the
    student's. Their name holds the network and the knees.
    """
    key = hashlib.sha256(f"{network.sha256} {_names(run.learnt)}".encode()).hexdigest()
    path = (network.run or run.out) / f"teacher-{key[:16]}.npz"
    stored = _read(path, key)
    if stored is not None and stored.shape == (len(run.learnt), GRADE_COUNT):
        return stored
    predictions = _predicted(run, network, advance)
    with replaced_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, key=np.array(key), probabilities=predictions)
    return predictions


def _read(path: Path, key: str) -> Float32Array | None:
    """What is kept under that key; ``None``: nothing, or nothing whole."""
    try:
        content = read_regular(path, MOST_FILE_BYTES)
        stored = npz_arrays(content, ("key", "probabilities"), MOST_FILE_BYTES)
    except (OSError, ValueError):
        return None
    probabilities = stored["probabilities"]
    return probabilities if str(stored["key"]) == key and probabilities.dtype.kind == "f" else None


def _names(knees: Sequence[Knee]) -> str:
    return json.dumps([(k.image.name, k.patient, k.side.value) for k in knees])


def _predicted(run: MemberRun, network: TeacherNetwork, advance: Advance) -> Float32Array:
    """Two views a knee: on an accelerator by the checkpoint, where it is left, else by the file."""
    if run.device.name != "cpu" and network.run is not None:
        for name in (BEST, CHECKPOINT):
            if (network.run / name).is_file():
                return by_checkpoint(run, network, network.run / name, advance)
    graded = exported_probabilities(
        network.model, network.head, network.preprocess, run.learnt, network.sha256
    )
    probabilities = np.empty((len(run.learnt), GRADE_COUNT), dtype=np.float32)
    for number, row in enumerate(graded):
        probabilities[number] = row
        advance(number + 1, len(probabilities))
    return probabilities


def by_checkpoint(
    run: MemberRun, network: TeacherNetwork, checkpoint: Path, advance: Advance
) -> Float32Array:
    """The same by torch on the run's device: ``(learnt knees, 5)`` probabilities.

    Raises:
        TrainingError: the checkpoint is damaged, or of another network or fold.
    """
    facts = json.loads((checkpoint.parent / FACTS).read_text("utf-8"))
    member = find(facts["architecture"]).build(GRADE_COUNT)
    load_learnt_weights(member, checkpoint, run.data_hash)
    member = member.to(run.device.name).to(memory_format=torch.channels_last).eval()
    planes = load_planes(run.learnt, network.preprocess)
    rows = []
    with torch.inference_mode(), run.device.autocast():
        for images in _batches(planes, network, run.device.name):
            logits = (member(images) + member(images.flip(3))).float() / 2
            rows.append(logits.softmax(dim=1).cpu().numpy())
            advance(sum(map(len, rows)), len(planes))
    probabilities: Float32Array = np.concatenate(rows)
    if not np.isfinite(probabilities).all():
        raise TrainingError(checkpoint, "grades with numbers that are not finite", "Train it anew")
    return probabilities


def _batches(
    planes: npt.NDArray[np.uint8], network: TeacherNetwork, device: str
) -> Iterator[torch.Tensor]:
    """Normalised images ``(n, 3, S, S)`` on the device."""
    seen = network.preprocess
    for start in range(0, len(planes), _BATCH):
        images = torch.from_numpy(planes[start : start + _BATCH]).to(device)[:, None].float() / 255
        mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (seen.mean, seen.std))
        yield ((images - mean) / std).contiguous(memory_format=torch.channels_last)
