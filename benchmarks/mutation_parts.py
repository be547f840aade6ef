"""What the mutations of bytes, rasters, DICOM objects and pixels share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def by_name(*functions: Function) -> dict[str, Function]:
    """Functions by their names, as records of a run tell them."""
    return {function.__name__: function for function in functions}


def cut_up(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Bytes in pieces, cut before each of some places, which are in order."""
    return [data[i:j] for i, j in zip([0, *cuts], [*cuts, len(data)], strict=True)]
