"""How a network is run: engine, number format, device, threads, callers at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from kellgren.errors import InvalidOption, MissingExtra, check_choice

Engine = Literal["onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a network is run. Nothing of it is ever chosen silently.

    Attributes:
        engine: ``onnxruntime`` or ``openvino``.
        precision: ``fp32``; ``bf16`` with openvino, on a processor that computes in it.
        device: ``cpu``; ``cuda`` with onnxruntime.
        threads: of the engine, for one caller; 0 leaves the choice to it.
        workers: callers that are served side by side. ONNX Runtime serves as many as come;
            OpenVINO has a stream for each of these, and others wait.
    """

    engine: Engine = "onnxruntime"
    precision: Precision = "fp32"
    device: Device = "cpu"
    threads: int = 0
    workers: int = 1

    def check(self) -> None:
        """Raise where the settings are none, or contradict each other.

        Raises:
            InvalidOption: an engine, precision, device or number that there is not, or a device
                that the engine does not have.
            MissingExtra: bf16 without openvino.
        """
        check_choice("engine", self.engine, get_args(Engine))
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("device", self.device, get_args(Device))
        _check_number("threads", self.threads, 0, "Give a whole number; 0 leaves it to the engine")
        _check_number("workers", self.workers, 1, "Give a whole number from 1")
        if self.device == "cuda" and self.engine != "onnxruntime":
            raise InvalidOption(
                "device cuda",
                "OpenVINO computes on the processor here",
                "Leave the engine at onnxruntime",
            )
        if self.precision == "bf16" and self.engine != "openvino":
            raise MissingExtra(
                "precision bf16",
                "ONNX Runtime computes in fp32 here",
                "Add --engine openvino, or leave the precision at fp32",
            )


DEFAULT_SETTINGS = EngineSettings()


def _check_number(option: str, value: object, least: int, remedy: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(option, f"is {value!r}", remedy)
