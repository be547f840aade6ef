"""The ends of a network: its one input, and those of its outputs that are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kellgren.arrays import Float32Array

NetworkOutputs = tuple[Float32Array, Float32Array, Float32Array | None]
"""Logits ``(N, 5)``, features ``(N, C, h, w)`` and, where given, those before their activation."""
Infer = Callable[[Float32Array], NetworkOutputs]
"""What turns a network's input ``(N, 3, size, size)`` into its outputs."""


def only_input(inputs: Sequence[tuple[str, Sequence[object]]], size: int) -> str:
    """The name of a network's one input, whose stated dimensions are ``(N, 3, size, size)``.

    Args:
        inputs: names and shapes; a dimension that is not stated is no whole number.
        size: its height and width.

    Raises:
        ValueError: it has several inputs, or one of another shape.
    """
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs, not one")
    name, shape = inputs[0]
    wanted = (3, size, size)
    stated = [(d, w) for d, w in zip(shape[1:], wanted, strict=False) if isinstance(d, int)]
    if len(shape) != 4 or any(dimension != want for dimension, want in stated):
        rest = (str(d) if isinstance(d, int) else "?" for d in shape[1:])
        words = ", ".join(("N", *rest))
        raise ValueError(f"its input has the shape ({words}), not (N, 3, {size}, {size})")
    return name


def used_outputs(given: set[str]) -> list[str]:
    """Those of a network's outputs that are used, logits and features first.

    Raises:
        ValueError: it has no such outputs.
    """
    missing = {"logits", "features"} - given
    if missing:
        raise ValueError(f"it has no output {' and no output '.join(sorted(missing))}")
    return [name for name in ("logits", "features", "unactivated") if name in given]
