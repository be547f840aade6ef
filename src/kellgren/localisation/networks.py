"""The small networks that find and judge knees, opened from bytes whose checksum was compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kellgren.arrays import Float32Array
from kellgren.model_files.memory import bounded_memory, unusable, with_memory_errors
from kellgren.model_files.onnx_graph import check_graph
from kellgren.model_files.onnx_session import onnx_session

Infer = Callable[[Float32Array], list[Float32Array]]


def open_network(
    content: bytes, path: Path, remedy: str, size: int, outputs: Sequence[tuple[int, ...]] = ()
) -> Infer:
    """An ONNX network that is given one picture, ``(1, 1, size, size)``, on one thread.

    Args:
        content: of its file.
        path: of its file, for errors.
        remedy: for errors.
        size: height and width of its input.
        outputs: shapes that its outputs must have in a trial run, for one picture and without its
            axis; empty: no trial, as for the package's own networks, which the package's tests run.

    Returns:
        What turns a picture into the outputs, in the network's order.

    Raises:
        BundleError: it is not such a network.
    """
    try:
        check_graph(content)
        with bounded_memory():
            infer = with_memory_errors(_session(content))
            if outputs:
                _try(infer, size, outputs)
    except Exception as error:  # the C++ library has no exception tree of its own
        raise unusable(path, error, remedy) from None
    return infer


def _session(content: bytes) -> Infer:
    session = onnx_session(content, threads=1, one_picture=True)  # films are read side by side
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs, not one")
    source = inputs[0].name
    return lambda picture: list(session.run(None, {source: picture}))


def _try(infer: Infer, size: int, outputs: Sequence[tuple[int, ...]]) -> None:
    picture = np.linspace(0, 1, size * size, dtype=np.float32).reshape(1, 1, size, size)
    given = infer(picture)
    shapes, wanted = [array.shape for array in given], [(1, *shape) for shape in outputs]
    if shapes != wanted:
        raise ValueError(f"its outputs have the shapes {shapes}, not {wanted}")
    if not all(np.isfinite(array).all() for array in given):
        raise ValueError("its outputs are not finite numbers")
