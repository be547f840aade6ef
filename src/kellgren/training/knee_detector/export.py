"""From a trained localiser to what ships: its ONNX file and a card with thresholds it must keep."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from kellgren.atomic_files import replaced_whole, written_whole
from kellgren.localisation.knee_detector import (
    CARD,
    NETWORK,
    SIDE_NETWORK,
    Detection,
    Localiser,
    LocaliserCard,
)
from kellgren.training.export.onnx_export import store_half
from kellgren.training.knee_detector.network import FEATURES, LocaliserNetwork
from kellgren.training.knee_detector.side import SideNetwork

_OPSET = 17
_SHRINKAGE = 0.1
_REFUSED = 0.004  # share of real knees that each of the two gates may refuse


@dataclass(frozen=True, slots=True)
class Judged:
    """What real knees look like to the network; none of those for the limits trained it.

    Attributes:
        features: ``(N, C)`` of knees that describe the cloud.
        limits: findings of other knees, from which the limits are taken.
    """

    features: npt.NDArray[np.float32]
    limits: Sequence[Detection]


def export_networks(
    localiser: LocaliserNetwork, size: int, side: SideNetwork, side_size: int, folder: Path
) -> None:
    """Write both networks as ONNX.

    The localiser takes ``film`` (N, 1, S, S) and returns ``map`` and ``features``, the other takes
    ``knee`` (N, 1, s, s) and returns ``left`` (N,). Large weights are stored as float16, all sums
    are done in float32.
    """
    _export(localiser, size, folder / NETWORK, "film", ["map", "features"])
    _export(side, side_size, folder / SIDE_NETWORK, "knee", ["left"])


def _export(network: nn.Module, size: int, path: Path, source: str, outputs: list[str]) -> None:
    with replaced_whole(path) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.cpu().float().eval(),
            (torch.rand(2, 1, size, size),),
            draft,
            dynamo=False,
            opset_version=_OPSET,
            input_names=[source],
            output_names=outputs,
            dynamic_axes={name: {0: "N"} for name in (source, *outputs)},
        )
        model = onnx.load(draft)
        store_half(model)
        onnx.save_model(model, draft)


def write_card(
    folder: Path, size: int, side_size: int, training: dict[str, Any], judged: Judged | None = None
) -> None:
    """Write the card beside the networks; without knees to judge by, its gates stand open."""
    files = {name: (folder / name).read_bytes() for name in (NETWORK, SIDE_NETWORK)}
    card = LocaliserCard(
        size=size,
        side_size=side_size,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        least_confidence=0.0,
        most_distance=1e9,
        feature_mean=[0.0] * FEATURES,
        feature_whitener=[[0.0] * FEATURES] * FEATURES,
        training=training,
        figures={},
    )
    if judged is not None:
        mean, whitener = cloud(judged.features)
        card = card.model_copy(
            update={
                "feature_mean": [round(float(v), 5) for v in mean],
                "feature_whitener": [[round(float(v), 5) for v in row] for row in whitener],
            }
        )
        _write(card, folder)
        localiser = Localiser(folder)
        confidences = [finding.confidence for finding in judged.limits]
        distances = [localiser.distance(finding) for finding in judged.limits]
        limits = {
            "least_confidence": round(float(np.quantile(confidences, _REFUSED)) * 0.9, 3),
            "most_distance": round(float(np.quantile(distances, 1 - _REFUSED)) * 1.05, 3),
        }
        card = card.model_copy(update=limits)
    _write(card, folder)


def cloud(
    features: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and whitener of features ``(N, C)``: Mahalanobis' distance, a little shrunk.

    The shrinkage keeps directions in which real knees hardly differ from deciding everything.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    covariance = np.cov(features.astype(np.float64), rowvar=False)
    ridge = _SHRINKAGE * np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    return mean, vectors / np.sqrt(values)


def _write(card: LocaliserCard, folder: Path) -> None:
    with written_whole(folder / CARD) as stream:
        stream.write(card.model_dump_json(indent=1) + "\n")
