"""Detect knees with a small network: first on the whole film, then on a window around each knee.

A second, smaller network estimates from the anatomy whether a knee is a left or a right one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kellgren.arrays import Float32Array
from kellgren.artefacts import ArtefactKind
from kellgren.knee import Plane, Region
from kellgren.localisation.crop import cut
from kellgren.localisation.networks import Infer, open_network

CARD, NETWORK, SIDE_NETWORK = "card.json", "localiser.onnx", "side.onnx"
MOST_JOINTS = 9
"""Joints of one picture that are looked at; films show two, contact sheets any number."""
_STRIDE = 8
_HEADS = 7  # confidence, two of the centre, width, two of the angle, inverted
_NEAR = 1.75  # width of the window around a knee, in knee widths
CANDIDATE = 0.15
"""Least confidence of what may be a joint: below it, nothing is looked at again."""
KIND = ArtefactKind("knee detector", CARD, "Install the package again")


@dataclass(frozen=True, slots=True)
class Detection:
    """A knee as the network detects it.

    Attributes:
        region: the square that the members expect, in pixels of the picture.
        confidence: that a knee joint is there, 0..1.
        left: probability that it is a patient's left knee, from its anatomy alone.
        inverted: probability that bone is dark.
        features: ``(C,)`` of the network around the joint.
    """

    region: Region
    confidence: float
    left: float
    inverted: float
    features: Float32Array


class LocaliserCard(BaseModel):
    """Card of the knee detector.

    Attributes:
        size: height and width of its input, in pixels.
        side_size: of the input of the network for the side.
        files: SHA-256 of both ONNX files.
        least_confidence: below it there is no knee; chosen on knees held out of its training.
        most_distance: of its features from those of real knees, likewise; see `distance`.
        feature_mean: ``(C,)`` of real knees' features.
        feature_whitener: ``(C, C)``, makes the differences from the mean independent and of
            variance 1.
        training: how it was trained, and credits.
        figures: measured on what it did not train on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(ge=_STRIDE, le=2048, multiple_of=_STRIDE)
    side_size: int = Field(ge=_STRIDE, le=2048)
    files: dict[str, str]
    least_confidence: float = Field(ge=0, le=1)
    most_distance: float = Field(gt=0)
    feature_mean: list[float] = Field(min_length=1, max_length=4096)
    feature_whitener: list[list[float]]
    training: dict[str, Any]
    figures: dict[str, Any]

    @model_validator(mode="after")
    def _square(self) -> Self:
        channels = len(self.feature_mean)
        if [len(row) for row in self.feature_whitener] != [channels] * channels:
            raise ValueError(f"the whitener is not of {channels} rows of {channels} numbers")
        return self

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the detecting network's outputs for one picture."""
        cells = self.size // _STRIDE
        return (_HEADS, cells, cells), (len(self.feature_mean), cells, cells)


def default_localiser() -> Path:
    """Folder of the network that comes with the package."""
    return Path(str(resources.files("kellgren"))) / "models" / "localiser"


class Localiser:
    """The knee detector.

    Args:
        folder: of the network and its card.

    Raises:
        BundleError: it is missing or damaged.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or default_localiser()
        _, content = KIND.content(folder)
        self.card = KIND.parsed(folder, content, LocaliserCard)
        files = KIND.files(folder, self.card.files)
        own = folder == default_localiser()

        def opened(name: str, size: int, outputs: Sequence[tuple[int, ...]]) -> Infer:
            content = files.read(name)
            tried = () if own else outputs
            return open_network(content, folder / name, KIND.remedy, size, tried)

        self._infer = opened(NETWORK, self.card.size, self.card.shapes)
        self._side = opened(SIDE_NETWORK, self.card.side_size, [()])
        self._mean = np.array(self.card.feature_mean, dtype=np.float32)
        self._whitener = np.array(self.card.feature_whitener, dtype=np.float32)

    def find(self, pixels: Plane) -> list[Detection]:
        """Detect knees.

        Args:
            pixels: ``(H, W)`` 0..1.

        Returns:
            At most `MOST_JOINTS`, the most certain first. A picture that is one knee's crop already
            gives one detection whose region is the whole picture, turned by quarters at most.
        """
        height, width = pixels.shape
        whole = Region((width / 2, height / 2), float(max(height, width)))
        first = [f for f in self._detect(pixels, whole) if f.confidence >= CANDIDATE]
        if first and is_whole(first[0].region, pixels.shape):
            detections = [self._whole(pixels, whole, first[0])]
        else:
            # The second pass confirms and straightens, the third measures the upright knee.
            second = [near for detection in first for near in self._refined(pixels, detection)]
            third = [(self._refined(pixels, detection) or [detection])[0] for detection in second]
            detections = _distinct(sorted(third, key=lambda f: -f.confidence))[:MOST_JOINTS]
        return [
            replace(detection, left=self._left(pixels, detection.region))
            for detection in detections
        ]

    def distance(self, detection: Detection) -> float:
        """How unlike real knees' features are: Mahalanobis' distance over the root of its rank."""
        difference = (detection.features - self._mean) @ self._whitener
        return float(np.sqrt(np.mean(difference**2)))

    def _whole(self, pixels: Plane, whole: Region, detection: Detection) -> Detection:
        """The detection of a crop, its features computed upright."""
        upright = replace(whole, angle=round(detection.region.angle / 90) * 90.0)
        seen = self._detect(pixels, upright) if upright.angle else [detection]
        best = max(seen, key=lambda f: f.confidence, default=replace(detection, confidence=0.0))
        return replace(best, region=upright)

    def _refined(self, pixels: Plane, detection: Detection) -> list[Detection]:
        """Detect one knee again in an upright window; keep the likeliest near the middle."""
        window = replace(detection.region, width=detection.region.width * _NEAR)
        near = [
            closer
            for closer in self._detect(pixels, window)
            if _apart(closer.region, detection.region) < 0.4 * detection.region.width
        ]
        return sorted(near, key=lambda closer: -closer.confidence)[:1]

    def _left(self, pixels: Plane, region: Region) -> float:
        knee = cut(pixels, region, self.card.side_size)
        (logits,) = self._side(knee[None, None])
        return float(_sigmoid(logits[0]))

    def _detect(self, pixels: Plane, window: Region) -> list[Detection]:
        size = self.card.size
        seen = cut(pixels, window, size, outside=0.0)
        heads, features = self._infer(seen[None, None])
        return [_placed(f, window, size) for f in _peaks(heads[0], features[0])]


def is_whole(region: Region, shape: tuple[int, ...]) -> bool:
    """Whether a knee's square is, but for the network's error, the whole picture.

    Then the picture is a crop, and cutting it again would only lose detail.
    """
    height, width = shape
    side = max(height, width)
    off = max(abs(region.centre[0] - width / 2), abs(region.centre[1] - height / 2)) / side
    tilt = abs((region.angle + 45) % 90 - 45)
    nearly_square = min(height, width) >= 0.85 * side
    return nearly_square and off < 0.1 and 0.82 < region.width / side < 1.25 and tilt < 20


def _peaks(heads: Float32Array, features: Float32Array) -> list[Detection]:
    """Local maxima of the joint's map as detections, in pixels of the network's input."""
    joint = heads[0]
    rows, columns = joint.shape
    padded = np.full((rows + 2, columns + 2), -np.inf, joint.dtype)
    padded[1:-1, 1:-1] = joint
    around = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    is_peak = joint >= np.maximum.reduce(around)
    peaks = [
        _decoded(heads, features, int(row), int(column))
        for row, column in np.argwhere(is_peak & (joint > -3.0))
    ]
    return _distinct(sorted(peaks, key=lambda f: -f.confidence))


def _decoded(heads: Float32Array, features: Float32Array, row: int, column: int) -> Detection:
    """The values around a peak, each cell counting by its share of the joint."""
    rows = slice(max(0, row - 1), row + 2)
    columns = slice(max(0, column - 1), column + 2)
    share = _sigmoid(heads[0, rows, columns])
    share = share / share.sum()
    y = rows.start + 0.5 + np.arange(share.shape[0])[:, None]
    x = columns.start + 0.5 + np.arange(share.shape[1])
    _, dx, dy, log_width, cos, sin, inverted = (
        (channel * share).sum() for channel in heads[:, rows, columns]
    )
    centre = (
        float((x * share).sum() + dx) * _STRIDE,
        float((y * share).sum() + dy) * _STRIDE,
    )
    width = float(np.exp(np.clip(log_width, -2, 5))) * _STRIDE
    return Detection(
        region=Region(centre, width, math.degrees(math.atan2(sin, cos))),
        confidence=float(_sigmoid(heads[0, row, column])),
        left=0.5,
        inverted=float(_sigmoid(inverted)),
        features=(features[:, rows, columns] * share).sum(axis=(1, 2)),
    )


def _placed(detection: Detection, window: Region, size: int) -> Detection:
    """A detection in a window of ``size`` pixels as a detection on the picture."""
    scale, turn = window.width / size, math.radians(window.angle)
    x, y = ((value - size / 2) * scale for value in detection.region.centre)
    region = Region(
        (
            window.centre[0] + x * math.cos(turn) - y * math.sin(turn),
            window.centre[1] + x * math.sin(turn) + y * math.cos(turn),
        ),
        detection.region.width * scale,
        (detection.region.angle + window.angle + 180) % 360 - 180,
    )
    return replace(detection, region=region)


def _distinct(detections: list[Detection]) -> list[Detection]:
    """Without those that show the knee of a more certain one again."""
    kept: list[Detection] = []
    for detection in detections:
        if all(_apart(detection.region, k.region) > 0.5 * k.region.width for k in kept):
            kept.append(detection)
    return kept


def _apart(one: Region, other: Region) -> float:
    return math.dist(one.centre, other.centre)


def _sigmoid(logits: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
