"""ONNX Runtime's session of a network, from bytes that were looked through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kellgren.libraries import import_onnxruntime

CPU = "CPUExecutionProvider"
ANY_NUMBER = "N"
"""What the networks of this package call the number of pictures that they are given at once."""


def onnx_session(
    content: bytes,
    threads: int,
    providers: Sequence[Any] = (CPU,),
    *,
    one_picture: bool = False,
    int8: bool = True,
) -> Any:
    """Open a network, on the processor where nothing else is asked for.

    Args:
        content: of its ONNX file, which `check_graph` let pass.
        threads: of the engine; 0 leaves the choice to it.
        providers: what computes, best first, each by its name or with its options.
        one_picture: it is given one at a time. Shapes are known then, and what a network reckons
            from them, such as its paddings, is computed once.
        int8: convolutions that are meant so are computed in it; else in float32, with the same
            roundings before and after them.

    Raises:
        Exception: whatever the native library raises of a network that it cannot run.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # idle threads that spin rob each other, and whatever else runs, of the few cores there are
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # else the bytes could be of a format of its own, which `check_graph` does not read
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if not int8:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if one_picture:
        options.add_free_dimension_override_by_name(ANY_NUMBER, 1)
    return onnxruntime.InferenceSession(content, options, providers=list(providers))
