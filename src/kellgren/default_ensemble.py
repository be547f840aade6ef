"""Readings in one call, by the bundle that comes with the package, loaded once per process."""

from __future__ import annotations

import threading

from kellgren.ensemble import Ensemble
from kellgren.grades import Side
from kellgren.grading.engines.engine_settings import Device, Engine, Precision
from kellgren.grading.grade_sets import DEFAULT_LEVEL
from kellgren.imaging.radiograph_input import RadiographInput
from kellgren.reading import FilmReadings

_lock = threading.Lock()
_Options = tuple[bool, Engine, Precision, Device, int, int, bool | None, bool, float, bool]
_loaded: dict[_Options, Ensemble] = {}


def read(
    source: RadiographInput,
    *,
    side: Side | str | None = None,
    mm_per_pixel: float | None = None,
    inverted: bool = False,
    frame: int | None = None,
    force: bool = False,
    fast: bool = False,
    engine: Engine = "onnxruntime",
    precision: Precision = "fp32",
    device: Device = "cpu",
    threads: int = 0,
    workers: int = 1,
    mirror: bool | None = None,
    pair: bool = True,
    level: float = DEFAULT_LEVEL,
    always_grade: bool = False,
) -> FilmReadings:
    """Grade every knee of a radiograph with a bundle that comes with the package.

    It is loaded once for each set of options from ``fast`` on, and kept. Threads may call at once.

    Args:
        source: path of a PNG, JPEG, TIFF or DICOM file of one knee or both, such a file open in
            binary mode, its bytes, or a NumPy array ``(H, W)``, as of `Ensemble.read`.
        side: of the knee: ``Side``, ``"L"``, ``"R"``, ``"left"`` or ``"right"``; ``None`` where
            it is not known, or stated by the file.
        mm_per_pixel: pixel spacing in millimetres, 0.01 to 5, in place of the file's.
        inverted: bone is dark in the array or picture.
        frame: which one to read, from 1, of a DICOM file that holds several.
        force: grade a picture that a check refuses too; the readings' checks state it.
        fast: use the small bundle, for triage of many films, in place of the default one.
        engine: ``"onnxruntime"``, or ``"openvino"`` where it is installed.
        precision: ``"fp32"``, or ``"bf16"`` with openvino.
        device: ``"cpu"``, or ``"cuda"`` with onnxruntime in its build for NVIDIA GPUs.
        threads: of the engine, for one knee; 0 leaves the choice to it.
        workers: threads that read at a time; openvino serves no more of them side by side.
        mirror: average over the knee and its mirror image; ``None``: as the bundle's card has it.
        pair: take the contralateral knee into account where the radiograph shows both.
        level: of the grade sets: share of labels that they are to hold, 0.8, 0.9 or 0.95.
        always_grade: name a grade whatever the doubts.

    Returns:
        One reading a knee, from the left of the picture to its right: a list, whose ``refused``
        holds the joints that were found and are not graded.

    Raises:
        BundleError: the bundle is damaged or missing.
        InvalidOption: an argument is not among its choices, or out of range, or bf16 is chosen
            on a processor without it.
        MissingExtra: openvino or cuda is chosen and not there, or bf16 without openvino.
        NotAKneeFilm: the picture shows no knee that may be graded.
        UnreadableRadiograph: the file or array cannot be read.
    """
    chosen = (bool(fast), engine, precision, device, threads, workers)
    ensemble = _ensemble((*chosen, mirror, bool(pair), level, bool(always_grade)))
    return ensemble.read(
        source, side, mm_per_pixel=mm_per_pixel, inverted=inverted, frame=frame, force=force
    )


def _ensemble(options: _Options) -> Ensemble:
    fast, engine, precision, device, threads, workers, mirror, pair, level, always_grade = options
    with _lock:  # two threads must not load the same networks
        if options not in _loaded:
            _loaded[options] = Ensemble.default(
                fast=fast,
                engine=engine,
                precision=precision,
                device=device,
                threads=threads,
                workers=workers,
                mirror=mirror,
                pair=pair,
                level=level,
                always_grade=always_grade,
            )
        return _loaded[options]
