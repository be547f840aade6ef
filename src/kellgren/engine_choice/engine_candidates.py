"""The engines, precisions, devices and numbers of workers that this installation can grade with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from kellgren.grading.engines.engine_settings import Device, Engine, Precision
from kellgren.grading.engines.onnxruntime_engine import cuda_missing, onnxruntime_providers
from kellgren.grading.engines.processor import computes_in_bf16
from kellgren.libraries import installed_version

_LIBRARIES = ("kellgren", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino")


class EngineChoice(BaseModel):
    """An engine, and how many knees it grades at a time.

    Attributes:
        engine: that runs the networks.
        precision: of its arithmetic.
        device: that it computes on.
        workers: files at a time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    engine: Engine = "onnxruntime"
    precision: Precision = "fp32"
    device: Device = "cpu"
    workers: int = Field(ge=1)

    @property
    def threads(self) -> int:
        """Of the engine for one knee: one where there are several workers, else its own choice."""
        return 1 if self.workers > 1 else 0

    @property
    def name(self) -> str:
        """Such as ``openvino bf16``."""
        return f"{self.engine} {self.precision}" + (" on cuda" if self.device == "cuda" else "")

    @property
    def words(self) -> str:
        """Such as ``openvino bf16, 2 workers``."""
        return f"{self.name}, {self.workers} worker{'s' if self.workers > 1 else ''}"


def candidates(cores: int) -> list[EngineChoice]:
    """What can be measured here; ONNX Runtime in fp32 with a worker a core, the reference, first.

    Args:
        cores: that may be used.
    """
    on_processor = sorted({1, max(1, cores // 2), cores}, reverse=True)
    kinds: list[tuple[Engine, Precision]] = [("onnxruntime", "fp32")]
    missing = dict(not_here())
    if "openvino" not in missing:
        kinds.append(("openvino", "fp32"))
        if "openvino bf16" not in missing:
            kinds.append(("openvino", "bf16"))
    found = [
        EngineChoice(engine=engine, precision=precision, workers=workers)
        for engine, precision in kinds
        for workers in on_processor
    ]
    if "cuda" not in missing:  # knees that wait for the GPU are graded together
        found += [EngineChoice(device="cuda", workers=cores * many) for many in (1, 4)]
    return found


def not_here() -> Iterator[tuple[Literal["openvino", "openvino bf16", "cuda"], str]]:
    """What cannot be measured here, each with the reason."""
    if not versions().get("openvino"):
        yield "openvino", "not installed: pip install '.[fast]' in a clone"
    elif computes_in_bf16() is False:
        yield "openvino bf16", "this processor does not compute in bf16"
    if reason := cuda_missing(onnxruntime_providers()):
        yield "cuda", reason


def versions() -> dict[str, str]:
    """Versions of what decides how fast, and to which digit, a knee is graded."""
    return {name: number for name in _LIBRARIES if (number := installed_version(name))}
