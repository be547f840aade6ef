"""Errors that name the missing extra instead of the missing module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kellgren.errors import MissingExtra

_TRAINING = {
    *("torch", "torchvision", "sklearn", "safetensors", "onnx", "timm", "matplotlib", "filelock"),
}


@contextmanager
def needs_train_extra() -> Iterator[None]:
    """Turn the error of a missing training library into a `MissingExtra`.

    Raises:
        MissingExtra: naming the library and the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _TRAINING:
            raise
        raise MissingExtra(
            "training",
            f"needs {error.name}, which is not installed",
            "Install it, in a clone: pip install '.[train]'",
        ) from None


@contextmanager
def needs_report_extra() -> Iterator[None]:
    """Turn the error of a missing matplotlib into a `MissingExtra`.

    Raises:
        MissingExtra: with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise MissingExtra(
            "--html",
            "draws its plots with matplotlib, which is not installed",
            "Install it, in a clone: pip install '.[report]'",
        ) from None
