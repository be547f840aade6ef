"""OpenVINO, with a stream for each caller, so that as many knees are graded at a time."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.errors import InvalidOption, MissingExtra
from kellgren.grading.engines.engine_settings import EngineSettings, Precision
from kellgren.grading.engines.network_ends import NetworkOutputs, only_input, used_outputs
from kellgren.grading.engines.processor import computes_in_bf16
from kellgren.libraries import import_openvino


class OpenvinoNetwork:
    """A network that as many threads may run at a time as it has streams.

    Args:
        model: content of the ONNX file, already looked through.
        size: height and width of its input.
        settings: how it is run, already checked.

    Attributes:
        compiled: OpenVINO's network.

    Raises:
        InvalidOption: bf16 is asked for on a processor that does not compute in it.
        MissingExtra: OpenVINO is not installed.
        ValueError: it has other inputs or outputs.
        Exception: whatever OpenVINO raises of a network that it cannot run.
    """

    def __init__(self, model: bytes, size: int, settings: EngineSettings) -> None:
        try:
            openvino = import_openvino()
        except ImportError:
            raise MissingExtra(
                "engine openvino",
                "is not installed",
                "Install it, in a clone: pip install '.[fast]'",
            ) from None
        core = openvino.Core()
        _check_bf16(core, settings.precision)
        network = core.read_model(model)
        source = only_input([(i.any_name, _stated(i.partial_shape)) for i in network.inputs], size)
        self._wanted = used_outputs({name for one in network.outputs for name in one.names})
        # One look at a time: memory is planned for it, and what a layer leaves stays in the caches
        network.reshape({source: [1, 3, size, size]})
        self.compiled = core.compile_model(network, "CPU", _properties(settings))
        self._requests = threading.local()  # a request serves one thread at a time

    def __call__(self, images: Float32Array) -> NetworkOutputs:
        """The outputs for ``(N, 3, size, size)``."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self.compiled.create_infer_request()
        looks = [self._requests.own.infer(look[None], share_inputs=True) for look in images]
        outputs = [np.concatenate([look[name] for look in looks]) for name in self._wanted]
        return outputs[0], outputs[1], outputs[2] if len(outputs) > 2 else None


def _stated(shape: Any) -> list[int | None]:
    """The dimensions of an input; ``None`` where one is left open."""
    return [d.get_length() if d.is_static else None for d in shape]


def _properties(settings: EngineSettings) -> dict[str, Any]:
    """As OpenVINO names them. Threads are of all streams together, and 0 means all cores."""
    return {
        # OpenVINO would choose bf16 by itself where the processor has it
        "INFERENCE_PRECISION_HINT": "bf16" if settings.precision == "bf16" else "f32",
        "NUM_STREAMS": settings.workers,
        "INFERENCE_NUM_THREADS": settings.threads * settings.workers,
        # every process would bind its threads to the same first cores
        "ENABLE_CPU_PINNING": False,
    }


def _check_bf16(core: Any, precision: Precision) -> None:
    """Refuse bf16 where it would be emulated: OpenVINO does that, slowly, on any AVX-512."""
    if precision != "bf16":
        return
    there = computes_in_bf16()
    if there is None:
        there = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if not there:
        raise InvalidOption(
            "precision bf16",
            "this processor does not compute in it, and would be slower with it",
            "Leave the precision at fp32",
        )
