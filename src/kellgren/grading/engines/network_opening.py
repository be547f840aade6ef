"""Opens a network with an engine."""

from __future__ import annotations

from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.engines.gathering import Gathering
from kellgren.grading.engines.network_ends import Infer
from kellgren.grading.engines.onnxruntime_engine import onnxruntime_network
from kellgren.grading.engines.openvino_engine import OpenvinoNetwork


def open_network(model: bytes, size: int, settings: EngineSettings) -> Infer:
    """Open a network. Threads may share what is returned.

    Args:
        model: content of the ONNX file, already looked through.
        size: height and width of its input.
        settings: how it is run, already checked.

    Returns:
        What turns its input ``(N, 3, size, size)`` into its outputs.

    Raises:
        InvalidOption: bf16 is asked for on a processor that does not compute in it.
        MissingExtra: openvino is asked for and not installed, or cuda where there is none.
        ValueError: it has other inputs or outputs.
        Exception: whatever the engine's native library raises of a network that it cannot run.
    """
    if settings.engine == "openvino":
        return OpenvinoNetwork(model, size, settings)
    infer = onnxruntime_network(model, size, settings.threads, settings.device)
    return Gathering(infer) if settings.device == "cuda" else infer
