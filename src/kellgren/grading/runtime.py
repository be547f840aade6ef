"""Runs one member from its ONNX file, with the engine that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.artefacts import MOST_FILE_BYTES
from kellgren.errors import BundleError, KellgrenError
from kellgren.grades import GRADE_COUNT
from kellgren.grading.engines.engine_settings import DEFAULT_SETTINGS, EngineSettings
from kellgren.grading.engines.network_opening import open_network
from kellgren.grading.preprocess import Preprocess
from kellgren.knee import KneeCrop
from kellgren.model_files.memory import bounded_memory, reason, unusable, with_memory_errors
from kellgren.model_files.npz import npz_arrays
from kellgren.model_files.onnx_graph import check_graph
from kellgren.model_files.regular import read_regular

_MOST_HEAD_BYTES = 16 * 2**20
_AS_IT_IS = (1.0,)  # factors of one look at a knee, or of two with its mirror image
_CLOSE, _LOOSE = 1e-3, 0.05  # of fp32, of bf16: a logit from what the head gives, in its terms


@dataclass(frozen=True, slots=True)
class MemberOutput:
    """What one member computes of one knee, in the orientation of its input.

    Attributes:
        logits: ``(5,)``.
        features: ``(C, h, w)``, the last feature map after its activation.
        head: ``(5, C)`` weights of the linear layer over the averaged features.
        bias: ``(5,)`` of that layer: ``logits == head @ features.mean((1, 2)) + bias``.
        mirrored: whether the input showed the knee mirrored.
        grad_cam_features: ``(C, h, w)``, what ``head`` weighs to Grad-CAM's map of the layer before
            the last activation; None where the network's Grad-CAM layer returns ``features``.
    """

    logits: Float32Array
    features: Float32Array
    head: Float32Array
    bias: Float32Array
    mirrored: bool
    grad_cam_features: Float32Array | None = None


def _read(path: Path) -> bytes:
    """The content of a file that no card lists."""
    return read_regular(path, MOST_FILE_BYTES)


class MemberRuntime:
    """One trained network, ready to run.

    Args:
        model: the ONNX file, with the outputs ``logits`` and ``features``.
        head: the head's weights, a ``.npz`` with ``weight`` and ``bias``.
        preprocess: what the network sees.
        settings: how it is run.
        read: gives the content of both files; a bundle checks it against its card.
        trial: run the network once, to see that its outputs are what they should be. Left out
            for the package's own bundle, whose networks the package's tests run.

    Raises:
        BundleError: the files are not such a network: not read in full, made of what networks
            of this package are not made of, of other inputs or outputs, or with a head that does
            not give its logits.
        InvalidOption: an engine, precision, device or number that there is not here.
        MissingExtra: openvino is asked for and not installed, or cuda where there is none.
    """

    def __init__(
        self,
        model: Path,
        head: Path,
        preprocess: Preprocess,
        settings: EngineSettings = DEFAULT_SETTINGS,
        *,
        read: Callable[[Path], bytes] = _read,
        trial: bool = True,
    ) -> None:
        settings.check()
        self.preprocess = preprocess
        self.head, self.bias = _head(head, read)
        with _unusable_where_it_fails(model):
            content = read(model)
            check_graph(content)
            with bounded_memory():
                # a GPU's driver reserves more than this bound: there, what is open now is proof
                self._open(content, replace(settings, device="cpu"), trial=trial)
            if settings.device != "cpu":
                self._open(content, settings, trial=trial)

    def _open(self, content: bytes, settings: EngineSettings, *, trial: bool) -> None:
        self._infer = with_memory_errors(open_network(content, self.preprocess.size, settings))
        if trial:
            self._try(_LOOSE if settings.precision == "bf16" else _CLOSE)

    def _try(self, tolerance: float) -> None:
        """Run the network on a drawn knee.

        Args:
            tolerance: how far a logit may lie from what the head gives, in parts of its terms.

        Raises:
            ValueError: an output is not as it should be; the message says which.
        """
        size = self.preprocess.size
        across = np.linspace(0, 1, size, dtype=np.float32)
        plane = across[None, :, None] * across[None, None, :]
        logits, features, unactivated = self._infer(self.preprocess.normalise(plane))
        grades, channels = self.head.shape
        if logits.shape != (1, grades):
            raise ValueError(f"its logits have the shape {logits.shape}, not (1, {grades})")
        for name, maps in (("features", features), ("unactivated", unactivated)):
            if maps is not None and (maps.ndim != 4 or maps.shape[:2] != (1, channels)):
                raise ValueError(
                    f"its {name} have the shape {maps.shape}, not (1, {channels}, ...)"
                )
        if not (np.isfinite(logits).all() and np.isfinite(features).all()):
            raise ValueError("its outputs are not finite numbers")
        means = features[0].mean(axis=(1, 2))
        terms = np.abs(self.head) @ np.abs(means) + np.abs(self.bias) + 1
        apart = np.abs(self.head @ means + self.bias - logits[0])
        if not (apart <= tolerance * terms).all():
            raise ValueError("its logits are not those that its head gives of its features")

    def logits(self, planes: Float32Array) -> Float32Array:
        """Of planes ``(N, size, size)`` in 0..1, as `Preprocess.plane` makes them."""
        return self._infer(self.preprocess.normalise(planes))[0]

    def examine(
        self, crop: KneeCrop, *, mirror: bool = True, factors: Sequence[float] = _AS_IT_IS
    ) -> MemberOutput:
        """Run the network on a knee.

        Args:
            crop: the knee.
            mirror: average the outputs for the knee and for its mirror image, logits and (mirrored
                back) features alike, so that the logits still follow from the features.
            factors: by which the normalised input is multiplied, a look each; all outputs are
                means over the looks.
        """
        plane = self.preprocess.plane(crop)
        views = np.stack([plane, plane[:, ::-1]]) if mirror else plane[None]
        looks = self.preprocess.normalise(views)
        if tuple(factors) != _AS_IT_IS:
            looks = np.concatenate([np.float32(factor) * looks for factor in factors])
        logits, features, unactivated = self._infer(looks)
        weighted = None
        if unactivated is not None:
            weighted = _mean_of_looks(_gradient_weighted(unactivated), mirror)
        return MemberOutput(
            logits=logits.mean(axis=0),
            features=_mean_of_looks(features, mirror),
            head=self.head,
            bias=self.bias,
            mirrored=self.preprocess.mirrors(crop),
            grad_cam_features=weighted,
        )


def _mean_of_looks(maps: Float32Array, mirror: bool) -> Float32Array:
    """``(C, h, w)`` of maps ``(L, C, h, w)``; with ``mirror``, every second is a mirror image's."""
    if mirror:
        maps = np.stack([maps[0::2], maps[1::2][..., ::-1]])
    return np.asarray(maps.mean(axis=tuple(range(maps.ndim - 3))))


def _gradient_weighted(unactivated: Float32Array) -> Float32Array:
    """Each channel times the share of its cells through which a rectifier lets the gradient pass.

    Grad-CAM weighs a channel by the mean gradient of the logit. Behind a rectifier and a global
    average that gradient is the head's weight over the number of cells where the channel is
    positive, and 0 elsewhere.
    """
    passing = (unactivated > 0).mean(axis=(-2, -1), keepdims=True, dtype=np.float32)
    return np.asarray(unactivated * passing)


def _head(path: Path, read: Callable[[Path], bytes]) -> tuple[Float32Array, Float32Array]:
    """``(5, C)`` weights and ``(5,)`` bias.

    Raises:
        BundleError: the file does not hold these.
    """
    try:
        arrays = npz_arrays(read(path), ("weight", "bias"), _MOST_HEAD_BYTES)
        weight, bias = (arrays[name].astype(np.float32) for name in ("weight", "bias"))
        if weight.ndim != 2 or len(weight) != GRADE_COUNT or bias.shape != (GRADE_COUNT,):
            raise ValueError(f"its weights have the shapes {weight.shape} and {bias.shape}")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError("its weights are not finite numbers")
    except (OSError, ValueError) as error:
        raise BundleError(
            path, f"is not a member's head ({reason(error)})", "Restore the bundle"
        ) from None
    return weight, bias


@contextmanager
def _unusable_where_it_fails(model: Path) -> Iterator[None]:
    """Whatever a runtime raises becomes the error of a network that cannot be run."""
    try:
        yield
    except KellgrenError:
        raise
    except Exception as error:  # the C++ libraries have no exception tree of their own
        remedy = "Restore the bundle, or make it again with kellgren bundle build"
        raise unusable(model, error, remedy) from None
