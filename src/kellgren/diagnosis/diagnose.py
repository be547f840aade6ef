"""All that is known of an installation, in the order in which it is shown."""

from __future__ import annotations

from pathlib import Path

from kellgren.diagnosis.fact import Fact
from kellgren.diagnosis.machine import machine_facts
from kellgren.diagnosis.packages import package_facts
from kellgren.diagnosis.parts import codec_facts, engine_facts, model_facts, remembered_facts


def diagnose(model: Path | None = None) -> list[Fact]:
    """All that is known of this installation and the machine; what is broken is among it.

    Args:
        model: another bundle to check beside those of the package.
    """
    return [
        *package_facts(),
        *engine_facts(),
        *remembered_facts(model),
        *model_facts(model),
        *codec_facts(),
        *machine_facts(),
    ]
