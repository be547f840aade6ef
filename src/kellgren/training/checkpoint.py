"""A run's state on disk, after every epoch: tensors and JSON, nothing that must be unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from kellgren.architectures import Member
from kellgren.errors import TrainingError
from kellgren.files import replaced_whole

FORMAT = 1
Tensors = dict[str, torch.Tensor]


@dataclass
class RunState:
    """All that changes while a member trains.

    Attributes:
        network: the weights that learn.
        average: their running average, or ``None``.
        optimiser: of the epoch that just ended.
        history: one record per finished epoch.
    """

    network: Member
    average: nn.Module | None
    optimiser: torch.optim.Optimizer
    history: list[dict[str, Any]]


def save_checkpoint(state: RunState, identity: dict[str, Any], path: Path) -> None:
    """Write the state whole or not at all.

    Args:
        state: after an epoch.
        identity: what the run is (recipe hash, fold, data); a checkpoint of another is refused.
        path: of the file to replace.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; the last checkpoint stays.
    """
    tensors = {f"network/{name}": value for name, value in state.network.state_dict().items()}
    if state.average is not None:
        tensors |= {f"average/{name}": value for name, value in state.average.state_dict().items()}
    saved = state.optimiser.state_dict()
    for number, slots in saved["state"].items():
        for slot, value in slots.items():
            tensors[f"optimiser/{number}/{slot}"] = torch.as_tensor(value)
    metadata = {
        "format": str(FORMAT),
        "identity": json.dumps(identity, sort_keys=True),
        "history": json.dumps(state.history),
    }
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        with replaced_whole(path) as temporary:
            save_file(whole, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            path,
            f"the checkpoint cannot be written ({error})",
            "Free some disk space, then go on with --resume from the epoch before",
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
            "Name another --out folder, or the recipe, data and fold it was started with",
        )
    return history


def load_checkpoint(state: RunState, path: Path) -> None:
    """Fill the state's network, average and optimiser from a file.

    Raises:
        TrainingError: damaged or incomplete.
    """
    try:
        parts: dict[str, Tensors] = {"network": {}, "average": {}, "optimiser": {}}
        with safe_open(path, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118 - not a dict
                part, name = key.split("/", 1)
                parts[part][name] = stored.get_tensor(key)
        state.network.load_state_dict(parts["network"])
        if state.average is not None:
            state.average.load_state_dict(parts["average"])
        state.optimiser.load_state_dict(
            {**state.optimiser.state_dict(), "state": _slots(parts["optimiser"])}
        )
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None


def _slots(tensors: Tensors) -> dict[int, Tensors]:
    slots: dict[int, Tensors] = {}
    for key, value in tensors.items():
        number, slot = key.split("/", 1)
        slots.setdefault(int(number), {})[slot] = value
    return slots


def _damaged(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        path,
        f"is not a whole checkpoint ({type(error).__name__})",
        "Delete it and start again without --resume",
    )
