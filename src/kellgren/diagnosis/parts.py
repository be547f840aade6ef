"""The parts that grading needs: engines, decoders of DICOM files, and models with checksums."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from kellgren.diagnosis.fact import Fact
from kellgren.engine_choice.remembered import outdated, remembered
from kellgren.errors import BundleError
from kellgren.explanation.similar import SimilarKnees
from kellgren.grading.bundle import default_bundle, fast_bundle, open_bundle
from kellgren.grading.engines.onnxruntime_engine import onnxruntime_providers
from kellgren.imaging.dicom.stored_values import codecs
from kellgren.libraries import import_onnxruntime, installed_version
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.picture_gate import PictureGate

_PROCESS = re.compile(r",? (Image Compression|Non-Hierarchical|\().*")


def engine_facts() -> Iterator[Fact]:
    """ONNX Runtime with what it can compute on, and OpenVINO where it is installed."""
    try:
        providers = ", ".join(onnxruntime_providers())
        number = import_onnxruntime().__version__  # its package may be onnxruntime-gpu
        words, broken = f"{number}: {providers}", not providers
    except Exception as error:  # a library of another system or processor fails in any way
        words, broken = f"cannot be imported ({type(error).__name__})", True
    yield Fact("engines", "onnxruntime", words, broken)
    words = installed_version("openvino") or "not installed (extra fast)"
    yield Fact("engines", "openvino", words)


def remembered_facts(model: Path | None) -> Iterator[Fact]:
    """The engines that `kellgren bench` remembered, and that `kellgren grade` uses here.

    Args:
        model: another bundle beside the default one.
    """
    for name, folder in (("default", default_bundle()), ("KELLGREN_MODEL or --model", model)):
        known = None if folder is None else remembered(folder)
        if known is not None:
            yield Fact("remembered engine", name, known.words)
        elif folder is not None and outdated(folder):
            words = "measured with other versions or another processor, and not used"
            yield Fact("remembered engine", name, f"{words}: kellgren bench --remember")


def codec_facts() -> Iterator[Fact]:
    """The decoder of each kind of compressed DICOM pixel data."""
    kinds: dict[tuple[str, bool], dict[str, None]] = {}
    for codec in codecs():
        short = _PROCESS.sub("", codec.name)
        kinds.setdefault((codec.decoder, codec.available), {})[short] = None
    for (decoder, available), names in kinds.items():
        missing = "" if available else ": not decoded, the library is missing"
        yield Fact("DICOM", decoder, ", ".join(names) + missing, broken=not available)


def model_facts(model: Path | None) -> Iterator[Fact]:
    """The models, each file compared with its checksum.

    Args:
        model: another bundle to check beside those of the package.
    """
    yield _checked("default", lambda: _bundle(default_bundle()))
    yield _checked("fast", lambda: _bundle(fast_bundle()))
    if model is not None:
        yield _checked("KELLGREN_MODEL or --model", lambda: _bundle(model))
    yield _checked("knee detector", _detector)
    yield _checked("picture gate", _gate)
    yield _checked("similar knees", lambda: f"{len(SimilarKnees.default())} knees, ")


def _checked(name: str, check: Callable[[], str]) -> Fact:
    try:
        return Fact("models", name, f"{check()}checksums fit")
    except BundleError as error:
        # Not its subject: a folder's path may name a user.
        return Fact("models", name, f"{Path(error.subject).name}: {error.reason}", broken=True)


def _bundle(folder: Path) -> str:
    bundle = open_bundle(folder)
    return f"{bundle.card.name} {bundle.checksum[:12]}, "


def _detector() -> str:
    Localiser()  # reads both of its networks, and compares their checksums
    return ""


def _gate() -> str:
    PictureGate()  # reads its network and its weights, and compares their checksums
    return ""
