"""The same films by each engine: agreement with the reference, and which one is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES
from kellgren.batch.reader_processes import ReaderProcesses
from kellgren.engine_choice import engine_candidates as there
from kellgren.engine_choice.engine_candidates import EngineChoice, candidates, not_here
from kellgren.engine_choice.measuring import Measured, fastest, measure_each
from kellgren.ensemble import Ensemble
from kellgren.errors import NotAKneeFilm
from kellgren.grading.bundle import open_bundle
from kellgren.grading.contralateral import BothKnees
from kellgren.grading.engines.engine_settings import Precision
from kellgren.grading.engines.processor import computes_in_bf16
from kellgren.reading import KneeReading

FILMS = sorted(EXAMPLES.glob("*.png"))[:3]


def of(engine: str, precision: str, wall: float, same: float = 1.0, workers: int = 2) -> Measured:
    choice = EngineChoice(engine=engine, precision=precision, workers=workers)  # type: ignore[arg-type]
    return Measured(choice, 1.0, wall, wall, 100, same, 0.0)


def test_each_engine_is_compared_with_the_first(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    blank = tmp_path / "blank.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(blank)
    half: Precision = "bf16" if computes_in_bf16() else "fp32"
    choices = [
        EngineChoice(workers=2),
        EngineChoice(engine="openvino", workers=1, precision=half),
    ]
    told: list[Measured] = []
    found = measure_each(
        open_bundle(bundle), [*FILMS, blank], choices, passes=1, on_measured=told.append
    )
    assert found == told
    assert [one.choice for one in found] == choices
    assert [one.knees for one in found] == [3, 3]  # a film without a knee is no knee
    assert found[0].largest_shift == 0
    assert found[1].largest_shift < 0.1
    # In fp32 the engines may differ only beyond the digits that rows have.
    assert found[1].largest_shift > 0 or half == "fp32"
    for one in found:
        assert one.same_grades == 1
        assert min(one.start_seconds, one.wall_seconds, one.processor_seconds) > 0


def test_workers_are_processes_as_those_of_a_batch(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[ReaderProcesses] = []
    began = ReaderProcesses.__init__

    def noted(self: ReaderProcesses, *given: Any, **named: Any) -> None:
        began(self, *given, **named)
        begun.append(self)

    monkeypatch.setattr(ReaderProcesses, "__init__", noted)
    (found,) = measure_each(open_bundle(bundle), FILMS, [EngineChoice(workers=3)], passes=1)
    (processes,) = begun
    assert processes.count == 2
    assert processes.processor_seconds > 0
    assert (found.knees, found.same_grades) == (3, 1)


def test_the_two_knees_of_a_patient_are_one_unit_where_grade_has_them_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = BothKnees(sharpness=1.0, agreement=2.0, bias=(0.0,) * 5)
    together, pairs = Ensemble.together, []

    def noted(self: Ensemble, *knees: KneeReading) -> tuple[KneeReading, KneeReading]:
        pairs.append({knee.image for knee in knees})
        return together(self, *knees)

    monkeypatch.setattr(Ensemble, "together", noted)
    films = [EXAMPLES / f"9177337{side}.png" for side in "LR"]
    bundle = make_bundle(tmp_path / "both", both_knees=both)
    (found,) = measure_each(bundle, films, [EngineChoice(workers=1)], passes=1)
    assert found.knees == 2
    assert set(map(str, films)) in pairs


def test_films_without_a_knee_are_an_error(bundle: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(blank)
    with pytest.raises(NotAKneeFilm, match="no knee that may be graded, in 1 files"):
        measure_each(open_bundle(bundle), [blank], [EngineChoice(workers=1)], passes=1)


def test_the_fastest_of_those_that_agree_is_chosen() -> None:
    reference, alone = of("onnxruntime", "fp32", 1.0), of("onnxruntime", "fp32", 1.5, workers=1)
    good, wrong = of("openvino", "bf16", 0.5, 0.996), of("openvino", "bf16", 0.4, 0.99)
    assert fastest([reference, alone, good, wrong]) is good
    assert fastest([reference, alone, wrong]) is reference


def test_what_is_hardly_faster_changes_nothing() -> None:
    reference, hardly = of("onnxruntime", "fp32", 1.0), of("openvino", "fp32", 0.97)
    quicker = of("onnxruntime", "fp32", 0.98, workers=1)
    assert fastest([reference, hardly]) is reference
    assert fastest([reference, hardly, quicker]) is quicker
    assert fastest([reference, of("openvino", "fp32", 0.9)]).choice.engine == "openvino"


def test_candidates_are_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(there, "versions", lambda: {"openvino": "1"})
    monkeypatch.setattr(there, "computes_in_bf16", lambda: True)
    monkeypatch.setattr(there, "onnxruntime_providers", lambda: ["CUDAExecutionProvider"])
    found = candidates(8)
    assert found[0] == EngineChoice(workers=8)
    assert {(c.name, c.workers) for c in found} == {
        *(
            (f"{name}", n)
            for name in ("onnxruntime fp32", "openvino fp32", "openvino bf16")
            for n in (1, 4, 8)
        ),
        *(("onnxruntime fp32 on cuda", n) for n in (8, 32)),
    }
    assert dict(not_here()) == {}
    monkeypatch.setattr(there, "computes_in_bf16", lambda: False)
    monkeypatch.setattr(there, "onnxruntime_providers", lambda: ["CPUExecutionProvider"])
    assert {c.name for c in candidates(1)} == {"onnxruntime fp32", "openvino fp32"}
    assert dict(not_here()).keys() == {"openvino bf16", "cuda"}
    monkeypatch.setattr(there, "versions", dict)
    assert [c.words for c in candidates(1)] == ["onnxruntime fp32, 1 worker"]
    assert dict(not_here()).keys() == {"openvino", "cuda"}


def test_one_worker_has_all_threads_and_several_one_each() -> None:
    assert [EngineChoice(workers=n).threads for n in (1, 2, 16)] == [0, 1, 1]
