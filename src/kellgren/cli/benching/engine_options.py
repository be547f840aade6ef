"""The options that name an engine, and the engine that is meant by them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from kellgren.engine_choice.engine_candidates import EngineChoice
    from kellgren.grading.engines.engine_settings import Device, Engine, Precision

EngineName = Annotated[
    Literal["onnxruntime", "openvino"] | None,
    typer.Option(
        envvar="KELLGREN_ENGINE",
        help="Library that runs the networks: onnxruntime, or with the extra fast openvino.",
    ),
]
PrecisionName = Annotated[
    Literal["fp32", "bf16"] | None,
    typer.Option(help="Number format of the networks: fp32, or with --engine openvino bf16."),
]
DeviceName = Annotated[
    Literal["cpu", "cuda"] | None,
    typer.Option(help="What computes: cpu, or with onnxruntime-gpu installed cuda."),
]


def engine_of(
    bundle: Path,
    engine: Engine | None,
    precision: Precision | None,
    device: Device | None,
    workers: int,
) -> EngineChoice:
    """The engine that options name; where they name none, the one that `bench` remembered.

    Args:
        bundle: its folder.
        engine: as given; ``None``: not given, like the next two.
        precision: as given.
        device: as given.
        workers: as given; 0: as remembered, or else one a core.
    """
    from kellgren.cli import terminal
    from kellgren.cli.inputs import cores
    from kellgren.engine_choice.engine_candidates import EngineChoice
    from kellgren.engine_choice.remembered import outdated, remembered

    if (engine, precision, device) == (None, None, None):
        known = remembered(bundle)
        if known is not None:
            terminal.note(f"engine remembered by kellgren bench: {known.words}")
            choice = known.choice
            return choice.model_copy(update={"workers": workers}) if workers else choice
        if outdated(bundle):
            terminal.note(
                "the engine that kellgren bench found was measured with other versions or another "
                "processor, and is not used: measure again, or kellgren bench --forget"
            )
    return EngineChoice(
        engine=engine or "onnxruntime",
        precision=precision or "fp32",
        device=device or "cpu",
        workers=workers or cores(),
    )
