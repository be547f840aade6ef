"""Runs one member from its ONNX file: ONNX Runtime, or OpenVINO where it is installed."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from zipfile import BadZipFile

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.errors import BundleError, InvalidOption, MissingExtra, check_choice
from kellgren.grading.preprocess import Preprocess
from kellgren.knee import KneeCrop
from kellgren.library_messages import import_onnxruntime, import_openvino

Infer = Callable[[Float32Array], tuple[Float32Array, Float32Array, Float32Array | None]]
Engine = Literal["onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16"]


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


class MemberRuntime:
    """One trained network, ready to run.

    Args:
        model: the ONNX file, with the outputs ``logits`` and ``features``.
        head: the head's weights, a ``.npz`` with ``weight`` and ``bias``.
        preprocess: what the network sees.
        engine: ``onnxruntime`` or ``openvino``.
        precision: ``fp32``; ``bf16`` with openvino only. Never chosen silently.
        threads: of the engine; 0 leaves the choice to it.
        read: gives the content of both files; a bundle checks it against its card.

    Raises:
        BundleError: the files are not such a network.
        InvalidOption: an engine, precision or number of threads that there is not.
        MissingExtra: openvino is asked for and not installed.
    """

    def __init__(
        self,
        model: Path,
        head: Path,
        preprocess: Preprocess,
        *,
        engine: Engine = "onnxruntime",
        precision: Precision = "fp32",
        threads: int = 0,
        read: Callable[[Path], bytes] = Path.read_bytes,
    ) -> None:
        _check_options(engine, precision, threads)
        self.preprocess = preprocess
        try:
            with np.load(io.BytesIO(read(head)), allow_pickle=False) as arrays:
                self.head: Float32Array = arrays["weight"].astype(np.float32)
                self.bias: Float32Array = arrays["bias"].astype(np.float32)
        except (OSError, EOFError, ValueError, TypeError, KeyError, BadZipFile) as error:
            raise BundleError(
                head, f"is not a member's head ({type(error).__name__})", "Restore the bundle"
            ) from None
        if engine == "openvino":
            self._infer = _openvino(model, read, precision, threads)
        elif precision == "bf16":
            raise MissingExtra(
                "precision bf16",
                "ONNX Runtime computes in fp32 here",
                "Add --engine openvino, or leave the precision at fp32",
            )
        else:
            self._infer = _onnxruntime(model, read, threads)

    def logits(self, planes: Float32Array) -> Float32Array:
        """Of planes ``(N, size, size)`` in 0..1, as `Preprocess.plane` makes them."""
        return self._infer(self.preprocess.normalise(planes))[0]

    def examine(
        self, crop: KneeCrop, *, mirror: bool = True, factors: Sequence[float] = (1.0,)
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
        seen = self.preprocess.normalise(views)
        logits, features, unactivated = self._infer(
            np.concatenate([np.float32(factor) * seen for factor in factors])
        )
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


def _check_options(engine: Engine, precision: Precision, threads: int) -> None:
    check_choice("engine", engine, get_args(Engine))
    check_choice("precision", precision, get_args(Precision))
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise InvalidOption(
            "threads", f"is {threads!r}", "Give a whole number; 0 leaves it to the engine"
        )


def onnxruntime_providers() -> list[str]:
    """What ONNX Runtime can compute on, such as ``CPUExecutionProvider``, best first.

    Raises:
        Exception: whatever its native library raises where it does not fit the system.
    """
    return [str(name) for name in import_onnxruntime().get_available_providers()]


def _onnxruntime(model: Path, read: Callable[[Path], bytes], threads: int) -> Infer:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # idle threads that spin rob each other, and whatever else runs, of the few cores there are
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            read(model), options, providers=["CPUExecutionProvider"]
        )
        source = session.get_inputs()[0].name
        given = {output.name for output in session.get_outputs()}
        if not {"logits", "features"} <= given:
            raise ValueError("outputs are missing")
    except BundleError:
        raise
    except Exception as error:  # the C++ library has no exception tree of its own
        raise _unusable(model, error) from None

    wanted = [name for name in ("logits", "features", "unactivated") if name in given]

    def infer(images: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array | None]:
        logits, features, *rest = session.run(wanted, {source: images})
        return logits, features, rest[0] if rest else None

    return infer


def _openvino(
    model: Path, read: Callable[[Path], bytes], precision: Precision, threads: int
) -> Infer:
    try:
        openvino = import_openvino()
    except ImportError:
        raise MissingExtra(
            "engine openvino", "is not installed", "Install it, in a clone: pip install '.[fast]'"
        ) from None
    # OpenVINO would choose bf16 by itself where the processor has it
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(read(model)), "CPU", settings)
        for name in ("logits", "features"):
            compiled.output(name)
        has_unactivated = any("unactivated" in output.names for output in compiled.outputs)
    except (OSError, RuntimeError) as error:
        raise _unusable(model, error) from None
    requests = threading.local()  # a request serves one caller at a time; knees are read in threads

    def infer(images: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array | None]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        outputs = requests.own.infer(images)
        unactivated = outputs["unactivated"] if has_unactivated else None
        return outputs["logits"], outputs["features"], unactivated

    return infer


def _unusable(model: Path, error: Exception) -> BundleError:
    return BundleError(
        model,
        f"is not a network this version can run ({type(error).__name__})",
        "Restore the bundle, or make it again with kellgren bundle build",
    )
