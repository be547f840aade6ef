"""The engines that run a network from the bytes of its ONNX file: ONNX Runtime, and OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

from kellgren.arrays import Float32Array
from kellgren.errors import MissingExtra
from kellgren.library_messages import import_onnxruntime, import_openvino
from kellgren.model_files.onnx_session import onnx_session

Infer = Callable[[Float32Array], tuple[Float32Array, Float32Array, Float32Array | None]]
Engine = Literal["onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16"]


def open_network(
    model: bytes, size: int, engine: Engine, precision: Precision, threads: int
) -> Infer:
    """Open a network.

    Args:
        model: content of the ONNX file, already looked through.
        size: height and width of its input.
        engine: that runs it.
        precision: bf16 with openvino only.
        threads: of the engine; 0 leaves the choice to it.

    Returns:
        What turns its input ``(N, 3, size, size)`` into logits ``(N, 5)``, features
        ``(N, C, h, w)`` and, where the network gives them, the features before their activation.

    Raises:
        MissingExtra: openvino is asked for and not installed.
        ValueError: it has other inputs or outputs.
        Exception: whatever the engine's native library raises of a network that it cannot run.
    """
    if engine == "openvino":
        return _openvino(model, size, precision, threads)
    return _onnxruntime(model, size, threads)


def onnxruntime_providers() -> list[str]:
    """What ONNX Runtime can compute on, such as ``CPUExecutionProvider``, best first.

    Raises:
        Exception: whatever its native library raises where it does not fit the system.
    """
    return [str(name) for name in import_onnxruntime().get_available_providers()]


def _onnxruntime(model: bytes, size: int, threads: int) -> Infer:
    session = onnx_session(model, threads)
    source = _only_input([(i.name, i.shape) for i in session.get_inputs()], size)
    given = {output.name for output in session.get_outputs()}
    wanted = _outputs(given)

    def infer(images: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array | None]:
        logits, features, *rest = session.run(wanted, {source: images})
        return logits, features, rest[0] if rest else None

    return infer


def _openvino(model: bytes, size: int, precision: Precision, threads: int) -> Infer:
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
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    _only_input(
        [
            (i.any_name, [d.get_length() if d.is_static else None for d in i.partial_shape])
            for i in compiled.inputs
        ],
        size,
    )
    wanted = _outputs({name for output in compiled.outputs for name in output.names})
    requests = threading.local()  # a request serves one caller at a time; knees are read in threads

    def infer(images: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array | None]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        outputs = requests.own.infer(images)
        unactivated = outputs["unactivated"] if "unactivated" in wanted else None
        return outputs["logits"], outputs["features"], unactivated

    return infer


def _only_input(inputs: Sequence[tuple[str, Sequence[object]]], size: int) -> str:
    """The name of a network's one input, whose stated dimensions are ``(N, 3, size, size)``.

    Args:
        inputs: names and shapes; a dimension that is not stated is no whole number.
        size: its height and width.
    """
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs, not one")
    name, shape = inputs[0]
    wanted = (3, size, size)
    stated = [(d, w) for d, w in zip(shape[1:], wanted, strict=False) if isinstance(d, int)]
    if len(shape) != 4 or any(dimension != want for dimension, want in stated):
        words = ", ".join(str(d) if isinstance(d, int) else "?" for d in shape)
        raise ValueError(f"its input has the shape ({words}), not (N, 3, {size}, {size})")
    return name


def _outputs(given: set[str]) -> list[str]:
    """Those of a network's outputs that are used."""
    missing = {"logits", "features"} - given
    if missing:
        raise ValueError(f"it has no output {' and no output '.join(sorted(missing))}")
    return [name for name in ("logits", "features", "unactivated") if name in given]
