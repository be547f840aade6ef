"""The picture gate: whether a knee that was found is a native frontal knee of an adult.

A small network with weights of ImageNet, which no knee was graded with, describes the knee; the
limits of what follows from its features were taken from real knees. So the gate serves every
bundle alike, and runs once for each joint.
"""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from kellgren.arrays import Float32Array
from kellgren.artefacts import ArtefactKind
from kellgren.knee import Plane, plane_image, quantiles
from kellgren.localisation.networks import open_network
from kellgren.localisation.picture_scores import GRID, GateWeights, Scores

CARD, NETWORK, WEIGHTS = "card.json", "features.onnx", "weights.npz"
KIND = ArtefactKind("picture gate", CARD, "Install the package again")
_STRETCHED = (0.005, 0.995)  # quantiles of the knee's grey values that become 0 and 1


class Limits(BaseModel):
    """Scores above which a knee is refused; see `Scores`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    distance: float
    metal: float
    growth_plates: float
    other: float


class GateCard(BaseModel):
    """Card of the picture gate.

    Attributes:
        size: height and width of the network's input, in pixels.
        files: SHA-256 of its files.
        upright: limits of a knee that was graded as it came.
        corrected: limits of one that was turned upright or inverted first: stricter.
        warned: limits above which a knee is graded with a warning.
        corrected_confidence: least confidence of the knee detector in a corrected one.
        training: from what it was made, and credits.
        figures: measured on what it did not learn from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(ge=32, le=2048)
    files: dict[str, str]
    upright: Limits
    corrected: Limits
    warned: Limits
    corrected_confidence: float
    training: dict[str, Any]
    figures: dict[str, Any]


class FeatureNetwork:
    """The network alone: from a knee to its features.

    Args:
        model: content of the ONNX file; input ``knee`` (N, 1, S, S), output ``features``.
        size: S.
        path: of the file, for errors.
        channels: C of its features, seen in a trial run; ``None``: no trial.

    Raises:
        BundleError: it is not such a network.
    """

    def __init__(
        self, model: bytes, size: int, path: Path = Path(NETWORK), channels: int | None = None
    ) -> None:
        self._size = size
        outputs = () if channels is None else ((channels, GRID, GRID),)
        self._infer = open_network(model, path, KIND.remedy, size, outputs)

    def features(self, knee: Plane) -> Float32Array:
        """Of an upright knee with bright bone, ``(H, W)``: ``(C, GRID, GRID)``.

        The tone does not count: grey values are stretched to the knee's own range.
        """
        picture = plane_image(knee)
        small = picture.resize((self._size, self._size), Image.Resampling.BICUBIC, reducing_gap=2.0)
        plane = np.asarray(small)
        low, high = quantiles(plane, _STRETCHED)
        shown = plane - low
        shown /= max(float(high - low), 1e-3)
        np.clip(shown, 0, 1, out=shown)
        (features,) = self._infer(shown.astype(np.float32)[None, None])
        return np.asarray(features[0], dtype=np.float32)


class PictureGate:
    """The gate, checked against its card.

    Args:
        folder: of the network, the weights and their card.

    Raises:
        BundleError: it is missing or damaged.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or default_folder()
        _, content = KIND.content(folder)
        self.card = KIND.parsed(folder, content, GateCard)
        files = KIND.files(folder, self.card.files)
        try:
            self._weights = GateWeights.parsed(files.read(WEIGHTS))
        except ValueError as error:
            raise KIND.damaged(folder / WEIGHTS, str(error)) from None
        channels = None if folder == default_folder() else self._weights.channels
        network = files.read(NETWORK)
        self._network = FeatureNetwork(network, self.card.size, folder / NETWORK, channels)

    def scores(self, knee: Plane) -> Scores:
        """Judge an upright knee with bright bone, ``(H, W)`` 0..1, cut as for the members."""
        return self._weights.scores(self._network.features(knee))

    def limits(self, *, corrected: bool) -> Limits:
        """What a knee may score at most; stricter where the picture was turned or inverted."""
        return self.card.corrected if corrected else self.card.upright


def default_folder() -> Path:
    """Folder of the gate that comes with the package."""
    return Path(str(resources.files("kellgren"))) / "models" / "picture_gate"


@functools.cache
def default_gate() -> PictureGate:
    """The gate that comes with the package, loaded once per process.

    Raises:
        BundleError: it is missing or damaged.
    """
    return PictureGate()
