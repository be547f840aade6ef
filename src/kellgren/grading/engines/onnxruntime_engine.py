"""ONNX Runtime, on the processor or, in its build for CUDA, on a GPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.errors import MissingExtra
from kellgren.grading.engines.engine_settings import Device
from kellgren.grading.engines.network_ends import Infer, NetworkOutputs, only_input, used_outputs
from kellgren.grading.engines.processor import sums_int8, usable_cores
from kellgren.libraries import import_onnxruntime
from kellgren.model_files.onnx_session import CPU, onnx_session

CUDA = "CUDAExecutionProvider"
_REMEDY = (
    "In the same environment: pip uninstall onnxruntime, then "
    "pip install 'onnxruntime-gpu[cuda,cudnn]', on a machine with an NVIDIA GPU and its driver"
)


def onnxruntime_providers() -> list[str]:
    """What ONNX Runtime can compute on, such as ``CPUExecutionProvider``, best first.

    Raises:
        Exception: whatever its native library raises where it does not fit the system.
    """
    return [str(name) for name in import_onnxruntime().get_available_providers()]


def onnxruntime_network(model: bytes, size: int, threads: int, device: Device) -> Infer:
    """Open a network, see `open_network`.

    Raises:
        MissingExtra: CUDA is asked for, and this ONNX Runtime or this machine has none.
    """
    if not threads and usable_cores() < (os.cpu_count() or 1):
        # Left to itself, it binds a thread to each core of the machine, those of others too.
        threads = usable_cores()
    if device == "cuda":
        session = _cuda_session(model, threads)
    else:
        session = onnx_session(model, threads, one_picture=True, int8=sums_int8())
    source = only_input([(i.name, i.shape) for i in session.get_inputs()], size)
    wanted = used_outputs({output.name for output in session.get_outputs()})

    def together(images: Float32Array) -> NetworkOutputs:
        logits, features, *rest = session.run(wanted, {source: images})
        return logits, features, rest[0] if rest else None

    def one_by_one(images: Float32Array) -> NetworkOutputs:
        looks = [session.run(wanted, {source: image[None]}) for image in images]
        logits, features, *rest = (np.concatenate(output) for output in zip(*looks, strict=True))
        return logits, features, rest[0] if rest else None

    return together if device == "cuda" else one_by_one


def cuda_missing(providers: Sequence[str]) -> str:
    """Why a session with these providers does not compute on a GPU; empty where it does."""
    if CUDA in providers:
        return ""
    return f"this ONNX Runtime computes on {', '.join(providers) or 'nothing'} only"


def _cuda_session(model: bytes, threads: int) -> Any:
    """A session on the first GPU; ONNX Runtime itself would go on silently on the processor."""
    onnxruntime = import_onnxruntime()
    _refuse(cuda_missing(onnxruntime_providers()))
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # of the packages nvidia-*, where the system has none
    # fp32 is fp32: without this, convolutions would round their factors to 10 bits (TF32). The
    # other choices of algorithms try them all anew for every number of knees.
    options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    session = onnx_session(model, threads, [(CUDA, options), CPU])
    if cuda_missing(session.get_providers()):
        _refuse("CUDA, cuDNN or the GPU's driver cannot be loaded")
    return session


def _refuse(problem: str) -> None:
    if problem:
        raise MissingExtra("device cuda", problem, _REMEDY)
