"""The ten knees in examples/ and their published grades; all of them are of the val split."""

from __future__ import annotations

from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"

GRADES = {
    "9511862L": 0,
    "9589486L": 0,
    "9522615L": 1,
    "9103968L": 1,
    "9589486R": 2,
    "9637958L": 2,
    "9177337L": 3,
    "9866738R": 3,
    "9177337R": 4,
    "9511862R": 4,
}
