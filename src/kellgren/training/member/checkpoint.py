"""A run's state on disk: tensors and JSON, nothing that must be unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kellgren.atomic_files import replaced_whole
from kellgren.errors import CannotKeep, TrainingError
from kellgren.training.architectures import Member

FORMAT = 2  # 1: the average had another horizon and other names
Tensors = dict[str, torch.Tensor]


@dataclass
class RunState:
    """All that changes while a member trains.

    Attributes:
        network: the weights that learn.
        average: their running average, or ``None``.
        optimiser: of the epoch that just ended.
        history: one record per finished epoch.
        origin: whose weights a new run began with; of one that goes on, its folder tells.
    """

    network: Member
    average: Member | None
    optimiser: torch.optim.Optimizer
    history: list[dict[str, Any]]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a network and its average were after an epoch: no optimiser, so none goes on from it.

    Attributes:
        tensors: on the training device, by part and name.
        history: one record per epoch until then.
    """

    tensors: Tensors
    history: list[dict[str, Any]]


def weights_of(state: RunState) -> Weights:
    """A copy of a state's weights as they are now."""
    copies = {name: value.detach().clone() for name, value in _learnt(state).items()}
    return Weights(copies, list(state.history))


def save_weights(weights: Weights, identity: dict[str, Any], path: Path) -> None:
    """Write weights whole or not at all, in the form of a checkpoint without an optimiser.

    Args:
        weights: after an epoch.
        identity: what the run is.
        path: of the file to replace.

    Raises:
        CannotKeep: the disk is full or the folder cannot be written; the last file stays.
    """
    _write(weights.tensors, weights.history, identity, path)


def save_checkpoint(state: RunState, identity: dict[str, Any], path: Path) -> None:
    """Write the state whole or not at all.

    Args:
        state: after an epoch.
        identity: what the run is (recipe hash, fold, data); a checkpoint of another is refused.
        path: of the file to replace.

    Raises:
        CannotKeep: the disk is full or the folder cannot be written; the last checkpoint stays.
    """
    tensors = _learnt(state)
    for number, slots in state.optimiser.state_dict()["state"].items():
        for slot, value in slots.items():
            tensors[f"optimiser/{number}/{slot}"] = torch.as_tensor(value)
    _write(tensors, state.history, identity, path)


def _learnt(state: RunState) -> Tensors:
    tensors = {f"network/{name}": value for name, value in state.network.state_dict().items()}
    if state.average is not None:
        tensors |= {f"average/{name}": value for name, value in state.average.state_dict().items()}
    return tensors


def _write(
    tensors: Tensors, history: list[dict[str, Any]], identity: dict[str, Any], path: Path
) -> None:
    metadata = {
        "format": str(FORMAT),
        "identity": json.dumps(identity, sort_keys=True),
        "history": json.dumps(history),
    }
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata["sha256"] = _digest(whole, metadata)
    try:
        with replaced_whole(path) as temporary:
            save_file(whole, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise CannotKeep(
            path,
            f"the checkpoint cannot be written ({error})",
            "Free some disk space; the same command (train member: with --resume) goes on from the "
            "last one that was",
        ) from None


def read_history(path: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of the epochs that a checkpoint holds.

    Raises:
        TrainingError: damaged, of another format, or of another run.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
        history: list[dict[str, Any]] = json.loads(metadata["history"])
        saved_identity = json.loads(metadata["identity"])
        readable = metadata["format"] == str(FORMAT)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _damaged(path, error) from None
    if not readable:
        raise TrainingError(path, "has another checkpoint format", "Start again in a new folder")
    different = sorted(k for k in identity if saved_identity.get(k) != identity[k])
    if different:
        raise TrainingError(
            path,
            f"belongs to another run (different: {', '.join(different)})",
            "Name another folder, or the recipe, data and fold it was started with",
        )
    return history


def load_checkpoint(state: RunState, path: Path) -> None:
    """Fill the state's network, average and optimiser from a file.

    Raises:
        TrainingError: damaged, be it by one flipped bit, incomplete, or without its checksum.
    """
    try:
        parts = _parts(path)
        state.network.load_state_dict(parts["network"])
        if state.average is not None:
            state.average.load_state_dict(parts["average"])
        state.optimiser.load_state_dict(
            {**state.optimiser.state_dict(), "state": _slots(parts["optimiser"])}
        )
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None


def load_learnt_weights(network: Member, path: Path, data_hash: str) -> int:
    """Fill a network with what another run learnt: its average where it kept one.

    Args:
        network: of the same architecture.
        path: the other run's checkpoint.
        data_hash: that it must have been trained with, so that nothing held out now was learnt
            from then.

    Returns:
        After how many epochs.

    Raises:
        TrainingError: damaged, of another network, or of other data or another fold.
    """
    history = read_history(path, {"data": data_hash})
    try:
        parts = _parts(path)
        network.load_state_dict(parts["average"] or parts["network"])
        return len(history)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None


def _parts(path: Path) -> dict[str, Tensors]:
    """The tensors of a checkpoint by part.

    Raises:
        ValueError: it has no checksum of them, or another; the message says so.
    """
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata() or {}
        whole = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    if metadata.pop("sha256", None) != _digest(whole, metadata):
        raise ValueError("the checksum is missing or does not fit")
    parts: dict[str, Tensors] = {"network": {}, "average": {}, "optimiser": {}}
    for key, value in whole.items():
        part, name = key.split("/", 1)
        parts[part][name] = value
    return parts


def _digest(tensors: Tensors, metadata: dict[str, str]) -> str:
    """SHA-256 over all that a checkpoint holds: safetensors does not notice a flipped bit."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _slots(tensors: Tensors) -> dict[int, Tensors]:
    slots: dict[int, Tensors] = {}
    for key, value in tensors.items():
        number, slot = key.split("/", 1)
        slots.setdefault(int(number), {})[slot] = value
    return slots


def _damaged(path: Path, error: Exception) -> TrainingError:
    reason = str(error) if type(error) is ValueError else type(error).__name__
    return TrainingError(
        path,
        f"is not a whole checkpoint ({reason})",
        "Delete it and start again: its epochs are lost",
    )
