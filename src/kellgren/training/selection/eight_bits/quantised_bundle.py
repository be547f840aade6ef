"""A bundle's members in int8 arithmetic, each only if knees that it never saw keep their grades."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from kellgren.arrays import Distributions, Float32Array
from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds
from kellgren.errors import BundleError, TrainingError
from kellgren.evaluation.metrics import accuracy, qwk
from kellgren.grading.bundle import Bundle, refuse_filled, write_bundle
from kellgren.grading.card import FORMAT, MemberCard
from kellgren.grading.card_parts.int8_facts import Int8Check, Int8Member
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import KneeCrop
from kellgren.localisation.crop import whole_knee
from kellgren.training.export.int8_arithmetic import Quantiser

LEAST_AGREEMENT = 0.995
CALIBRATED_ON = 64
_FEWEST = 20
_SEED = 0
Say = Callable[[str], None]


def quantise(
    bundle: Bundle,
    knees: Sequence[Knee],
    folds: Folds,
    folder: Path,
    *,
    name: str = "",
    most: int = 0,
    say: Say = lambda line: None,
) -> Bundle:
    """Write a bundle whose members are computed in int8 where their grades stay.

    Args:
        bundle: with members in float32.
        knees: graded; those that it learnt from, and those that it did not.
        folds: of their patients, as in training.
        folder: new or empty.
        name: of the new bundle; empty: as before.
        most: held-out knees that judge; 0: all of them.
        say: told what came of each member.

    Raises:
        BundleError: the bundle has a local calibration, the folds are not those of its training,
            or the folder holds something already.
        TrainingError: there are too few knees, or no member keeps its grades.
        UnreadableRadiograph: a knee does not decode.
    """
    refuse_filled(folder)
    _check(bundle, folds)
    judging = _Judging(bundle, knees, folds, most)
    files = {name: bundle.path(name) for name in bundle.card.files}
    members = []
    with TemporaryDirectory() as temporary:
        for member in bundle.card.members:
            target = Path(temporary) / member.model
            made = judging.quantised(member, target, say)
            if made is not None:
                files[member.model] = target
            members.append(member.model_copy(update={"int8": made}))
        if not any(member.int8 for member in members):
            raise TrainingError(
                bundle.folder,
                f"has no member of which {LEAST_AGREEMENT:.1%} of knees keep their grade in int8",
                "Use it as it is",
            )
        check = judging.vote()
        say(f"vote: {check.words}")
        changed = {"format": FORMAT, "members": tuple(members), "int8": check}
        card = bundle.card.model_copy(update=changed | {"name": name or bundle.card.name})
        return write_bundle(card, files, folder)


def _check(bundle: Bundle, folds: Folds) -> None:
    card = bundle.card
    if card.local_calibration is not None:
        raise BundleError(
            bundle.folder,
            f"is calibrated to local readers ({card.local_calibration.words})",
            "Name the bundle that it was made from, and calibrate the result again",
        )
    if any(member.int8 for member in card.members):
        raise BundleError(bundle.folder, "is in int8 already", "Name the bundle it was made from")
    if folds.hash != card.data.folds_hash:
        raise BundleError(
            bundle.folder,
            "was trained on other folds than these knees make, so which it never saw is not known",
            "Name the data it was trained on, or their file of folds with --folds",
        )


class _Judging:
    """Knees that calibrate, and others that judge.

    Args:
        bundle: as it was.
        knees: all.
        folds: of their patients.
        most: knees that judge; 0: all that there are.
    """

    def __init__(self, bundle: Bundle, knees: Sequence[Knee], folds: Folds, most: int) -> None:
        self._bundle = bundle
        place = np.full(len(knees), -1)
        for fold in range(folds.count):
            place[folds.held_out(knees, fold)] = fold
        learnt = {fold for member in bundle.card.members for fold in member.trained_folds}
        unseen = np.array([fold not in learnt for fold in place])
        order = np.random.default_rng(_SEED).permutation(len(knees))
        self.out_of_fold = bool(unseen.any())
        calibrating = [knees[at] for at in order if not unseen[at]]
        judging = [knees[at] for at in order if unseen[at]]
        if not self.out_of_fold:
            judging = calibrating[CALIBRATED_ON:]
        self.calibrating = calibrating[:CALIBRATED_ON]
        self.judging = judging[:most] if most else judging
        if min(len(self.calibrating), len(self.judging)) < _FEWEST:
            raise TrainingError(
                f"{len(knees)} knees",
                f"are too few: {_FEWEST} that the bundle learnt from, to calibrate on, and "
                f"{_FEWEST} others, to judge, are needed",
                "Name the whole data that the bundle was trained on",
            )
        self._truth = [int(knee.grade or 0) for knee in self.judging]
        self._before: dict[str, Float32Array] = {}
        self._after: dict[str, Float32Array] = {}

    def quantised(self, member: MemberCard, target: Path, say: Say) -> Int8Member | None:
        """Write a member in int8, if that keeps its grades; what is to be said of it."""
        name = member.name
        path, head = self._bundle.path(member.model), self._bundle.path(member.head)
        self._before[name], slow = self._graded(path, head, member)
        self._after[name] = self._before[name]
        quantiser = Quantiser(onnx.load(path), self._looks(member))
        kept = quantiser.chosen()
        with replaced_whole(target) as temporary:
            onnx.save_model(quantiser.quantised(kept), temporary)
        logits, fast = self._graded(target, head, member)
        check = self._compared(softmax(self._before[name]), softmax(logits))
        staying = f", {len(kept)} layers in fp32" if kept else ""
        say(f"{name}{staying}: {check.words}, {fast:.0f} ms for {slow:.0f} ms a knee")
        if check.agreement < LEAST_AGREEMENT:
            say(
                f"{name} stays as it is: fewer than {LEAST_AGREEMENT:.1%} of knees keep their grade"
            )
            return None
        self._after[name] = logits
        return Int8Member(
            check=check,
            calibrated_on=len(self.calibrating),
            layers=len(quantiser.layers) - len(kept),
            kept=len(kept),
            tries=1,
        )

    def vote(self) -> Int8Check:
        """What all members together say, before and after."""
        return self._compared(self._combined(self._before), self._combined(self._after))

    def _combined(self, logits: Mapping[str, Float32Array]) -> Distributions:
        card = self._bundle.card
        votes = [
            softmax(np.mean([logits[m.name] for m in card.members if m.backbone == of], axis=0))
            for of in card.combiner.members
        ]
        return np.stack([card.combiner.combine(knee) for knee in np.stack(votes, axis=1)])

    def _compared(self, before: Distributions, after: Distributions) -> Int8Check:
        graded, regraded = before.argmax(axis=1), after.argmax(axis=1)
        shift = np.abs(before - after)
        return Int8Check(
            knees=len(self.judging),
            out_of_fold=self.out_of_fold,
            agreement=round(float((graded == regraded).mean()), 6),
            mean_shift=round(float(shift.mean()), 6),
            largest_shift=round(float(shift.max()), 6),
            accuracy=(accuracy(self._truth, graded), accuracy(self._truth, regraded)),
            qwk=(qwk(self._truth, graded), qwk(self._truth, regraded)),
        )

    def _graded(self, model: Path, head: Path, member: MemberCard) -> tuple[Float32Array, float]:
        """``(N, 5)`` logits of the judging knees, and milliseconds of processor a knee."""
        network = MemberRuntime(model, head, member.preprocess, EngineSettings(threads=1))
        mirror = self._bundle.card.one_look is None
        logits, spent = [], 0.0
        for knee in self.judging:
            crop = _crop(knee)
            began = time.thread_time()
            logits.append(network.examine(crop, mirror=mirror).logits)
            spent += time.thread_time() - began
        return np.stack(logits), 1000 * spent / len(self.judging)

    def _looks(self, member: MemberCard) -> Float32Array:
        """``(2 N, 3, S, S)`` the calibrating knees and their mirror images, as in grading."""
        sees = member.preprocess
        planes = np.stack([sees.plane(_crop(knee)) for knee in self.calibrating])
        return sees.normalise(np.concatenate([planes, planes[..., ::-1]]))


def _crop(knee: Knee) -> KneeCrop:
    return whole_knee(read_radiograph(knee.image), knee.side)
