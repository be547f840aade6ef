"""The bundle that a local calibration makes: the old one with one more step in its card."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from kellgren.errors import InvalidOption
from kellgren.evaluation import Scores
from kellgren.grading.bundle import Bundle, Card, LocalCalibration, LocalData, write_bundle
from kellgren.grading.card import FORMAT
from kellgren.grading.grade_sets import GradeSets
from kellgren.grading.naming import HeldOut, certainty_shares
from kellgren.local_calibration.estimate import LocalEstimate
from kellgren.local_calibration.local_sets import local_naming

NOT_STATED = "not stated"
_KEPT_SCORES = ("accuracy", "macro_f1", "qwk", "mae", "one_off", "auc_grade2", "ece", "log_loss")


@dataclass(frozen=True, slots=True)
class LocalNames:
    """What those who calibrate say of their data.

    Attributes:
        name: of the data.
        licence: of the data.
        credit: whom to cite.
        limits: what the data do not cover.
    """

    name: str
    licence: str = NOT_STATED
    credit: str = NOT_STATED
    limits: str = NOT_STATED


def check_uncalibrated(bundle: Bundle) -> None:
    """Refuse a bundle that has a local calibration: a second one would be fitted to the first.

    Raises:
        InvalidOption: it has one.
    """
    local = bundle.card.local_calibration
    if local is not None:
        raise InvalidOption(
            bundle.folder,
            f"is calibrated to local readers already ({local.words})",
            f"Calibrate the bundle that it was made from, {local.bundle}, with all local grades",
        )


def calibrated_card(
    bundle: Bundle, estimate: LocalEstimate, sets: GradeSets, names: LocalNames
) -> Card:
    """The bundle's card with the local calibration as its last step.

    Args:
        bundle: that graded the local knees; without a local calibration.
        estimate: of what its fit brings.
        sets: grade sets of the local knees, in place of the bundle's.
        names: of the data.

    Raises:
        InvalidOption: the fit changes nothing, so that there is no bundle to make.
    """
    if estimate.fit.verdict != "calibrated":
        raise InvalidOption(
            "local calibration",
            f"changes nothing ({estimate.fit.verdict})",
            "Use the bundle as it is",
        )
    held = HeldOut.of(estimate.after, estimate.truth, estimate.patients)
    counted = np.bincount(estimate.truth, minlength=5)
    local = LocalCalibration(
        shift=estimate.fit.shift,
        data=LocalData(
            **{key: getattr(names, key) for key in ("name", "licence", "credit", "limits")},
            knees=len(estimate.truth),
            patients=len(set(estimate.patients)),
            of_grade=tuple(int(count) for count in counted),
        ),
        bundle=f"{bundle.card.name} {bundle.checksum}",
        software=f"kellgren {version('kellgren')}",
        order=round(estimate.fit.order, 4),
        evidence=round(estimate.fit.evidence, 4),
        before=_kept(estimate.scores_before),
        after={**_kept(estimate.scores_after), **certainty_shares(held)},
    )
    changed = {
        "format": FORMAT,
        "scale": f"Kellgren-Lawrence, grades 0 to 4, as the readers of {names.name} give them",
        "local_calibration": local,
        "elsewhere": (),  # scores of the bundle without this step
        "detail": None,  # the sets are fitted on local pictures, whatever their detail
        "grade_sets": sets,
        "grade_sets_paired": None,
        "naming": local_naming(
            bundle.card.naming, estimate.after, estimate.truth, estimate.patients, sets
        ),
    }
    return bundle.card.model_copy(update=changed)


def write_calibrated(bundle: Bundle, card: Card, folder: Path) -> Bundle:
    """Lay the calibrated bundle down in a new folder, with all files of the old one.

    Raises:
        BundleError: the folder holds something already.
    """
    return write_bundle(card, {name: bundle.path(name) for name in bundle.card.files}, folder)


def _kept(scores: Scores) -> dict[str, object]:
    every = scores.to_dict()
    return {key: every[key] for key in (*_KEPT_SCORES, "confusion", "knees", "patients")}
