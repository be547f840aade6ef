"""What /metrics counts of readings: few series, no names, and histograms that add up."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kellgren.reading_schema import GradedRow, UngradedRow
from kellgren.web.api.reading_counts import ReadingCounts


def graded(grade: int, top: float, distance: float | None, grey: float) -> GradedRow:
    shares = [(1 - top) / 4] * 5
    shares[grade] = top
    names = ("none", "doubtful", "minimal", "moderate", "severe")
    checks: list[dict[str, Any]] = [
        {"name": "exposure", "verdict": "passed", "evidence": "-", "value": grey}
    ]
    if distance is not None:
        checks.append({"name": "picture", "verdict": "passed", "evidence": "-", "value": distance})
    content = {
        **{"image": "Doe_Jane.png", "side": "L", "grade": grade, "name": names[grade]},
        **{"named": True, "doubts": (), "probabilities": shares, "certainty": "high"},
        **{"right_share": None, "disagreement": None, "warnings": (), "mm_per_pixel": None},
        "grade_set": {"lowest": grade, "highest": grade, "level": 0.9, "coverage": None},
        **{"region": None, "read_with": None, "checks": checks, "note": ""},
        "model": {
            **{"software": "kellgren 0.2.0", "name": "tiny", "checksum": "0" * 64},
            **{"engine": "onnxruntime", "precision": "fp32", "mirror": "off", "other_knee": "off"},
        },
    }
    return GradedRow.model_validate(content)


@pytest.fixture
def counts() -> ReadingCounts:
    counts = ReadingCounts()
    counts.add([graded(2, 0.8, 1.21, 0.5), graded(2, 0.62, 1.1, 0.97)])
    refused = UngradedRow(image="Doe_Jane.png", side="", grade=None, note="is refused")
    counts.add([graded(0, 1.0, None, 0.31), refused])
    return counts


def test_values_are_counted_in_buckets(counts: ReadingCounts) -> None:
    lines = counts.lines()
    assert 'kellgren_readings_total{grade="0"} 1' in lines
    assert 'kellgren_readings_total{grade="1"} 0' in lines
    assert 'kellgren_readings_total{grade="2"} 2' in lines
    assert "kellgren_not_graded_total 1" in lines
    assert 'kellgren_reading_certainty_bucket{le="0.75"} 1' in lines
    assert 'kellgren_reading_certainty_bucket{le="0.8"} 2' in lines
    assert 'kellgren_reading_certainty_bucket{le="+Inf"} 3' in lines
    assert "kellgren_reading_certainty_sum 2.42" in lines
    assert 'kellgren_reading_gate_distance_bucket{le="1.1"} 1' in lines
    assert "kellgren_reading_gate_distance_count 2" in lines
    assert 'kellgren_reading_exposure_bucket{le="0.9"} 2' in lines
    assert 'kellgren_reading_exposure_bucket{le="+Inf"} 3' in lines


def test_no_name_and_no_more_series_with_more_readings(counts: ReadingCounts) -> None:
    before = [line.rpartition(" ")[0] for line in counts.lines() if line[0] != "#"]
    for grade in range(5):
        counts.add([graded(grade, 0.5, 1.0 + grade, 0.2 * grade)])
    after = counts.lines()
    assert [line.rpartition(" ")[0] for line in after if line[0] != "#"] == before
    assert "Doe" not in "\n".join(after)
    series = re.compile(r'kellgren_[a-z_]+(\{(grade|le)="[0-9.+Inf]+"\})? [0-9.e+-]+')
    assert all(series.fullmatch(line) or line.startswith("# ") for line in after)
