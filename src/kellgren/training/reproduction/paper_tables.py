"""Both protocols on a campaign: the paper's tables with the honest number beside each of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kellgren.training.reproduction.both_ways import ChosenVote, Grades, OnTest, OutOfFoldAlone
from kellgren.training.reproduction.networks_table import (
    SHOWN,
    BackboneRow,
    Draws,
    Estimates,
    mean_of,
    on_test,
    out_of_fold,
    plain,
)
from kellgren.training.selection.out_of_fold import OutOfFold
from kellgren.training.selection.protocols import Network
from kellgren.training.selection.same_knees import SameKnees
from kellgren.training.selection.subsets import PAPER_RULES, AnyRule, Measure, SubsetComparison
from kellgren.training.selection.unseen import Unseen

Among = Literal["own", "all"]
Reported = tuple[float | None, float | None]
SMALL = 224
"""Pixels at which the paper compared all networks before it chose each one's own size."""
REPORTED: dict[str, Reported] = {
    "224 pixels, mean over folds": (0.705, None),
    "their own size, mean over folds": (0.724, None),
    "their own size, best fold of each": (0.731, 0.728),
    "all, mix": (0.763, 0.764),
    "best subset, mix": (0.7693, 0.7665),
}
"""Accuracy and macro-F1 that Pi et al. report on 1 656 test knees."""


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table of both protocols.

    Attributes:
        what: is scored.
        theirs: chosen as the paper chose; ``None``: the paper has nothing of this kind.
        honest: chosen without the knees that it is scored on.
        optimism: theirs less honest, paired; ``None`` where nothing is chosen, or nothing theirs.
        their_choice: who votes, by which rule; empty where there is no vote.
        honest_choice: likewise.
        reported: by Pi et al., accuracy and macro-F1.
        voters: names of the backbones that vote, in their way and honestly.
    """

    what: str
    theirs: Estimates | None
    honest: Estimates
    optimism: Estimates | None
    their_choice: str = ""
    honest_choice: str = ""
    reported: Reported | None = None
    voters: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        reported = self.reported and dict(zip(SHOWN, self.reported, strict=True))
        return {
            "what": self.what,
            "paper": self.theirs and plain(self.theirs),
            "honest": plain(self.honest),
            "optimism": self.optimism and plain(self.optimism),
            "paper_choice": self.their_choice,
            "honest_choice": self.honest_choice,
            "reported_by_pi_et_al": reported,
        }


@dataclass(frozen=True, eq=False)
class PaperTables:
    """All that the report shows.

    Attributes:
        measure: by which folds, subset and rule are chosen.
        tested: whether on test knees, or on the knees that the folds held out.
        networks: the table of single networks.
        rows: the table of both protocols.
        voting: backbones among which subsets are chosen.
        picked: the network of each that the honest way picks; ``None``: each knee's own fold.
        theirs: the vote chosen as the paper did.
        honest: the vote chosen honestly; out of fold, its grades are nested.
        subsets: all candidates on the knees that the paper's way chooses on.
        out_of_fold: all candidates out of fold.
        knees: that everything is scored on.
        patients: whose knees they are.
        warnings: what is not among the knees.
    """

    measure: Measure
    tested: bool
    networks: tuple[BackboneRow, ...]
    rows: tuple[Row, ...]
    voting: tuple[str, ...]
    picked: tuple[Network | None, ...]
    theirs: ChosenVote
    honest: ChosenVote
    subsets: SubsetComparison
    out_of_fold: SubsetComparison
    knees: int
    patients: int
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "knees": self.knees,
            "patients": self.patients,
            "scored_on": "test knees" if self.tested else "knees held out by the folds",
            "measure": self.measure,
            "warnings": list(self.warnings),
            "networks": [row.to_dict() for row in self.networks],
            "protocols": [row.to_dict() for row in self.rows],
            "candidates": len(self.subsets.candidates),
            "voting": list(self.voting),
            "chosen_by_the_paper's_way": self.theirs.to_dict(),
            "chosen_honestly": self.honest.to_dict(),
        }


def paper_tables(
    predictions: OutOfFold, unseen: Unseen | None, measure: Measure = "paper", among: Among = "own"
) -> PaperTables:
    """Choose as the paper did and honestly, and score both.

    Args:
        predictions: the backbones' out-of-fold predictions.
        unseen: their networks on test knees; ``None``: both protocols out of fold.
        measure: to choose by.
        among: which backbones may vote: ``own`` leaves those at 224 pixels out where there are
            others, as the paper did.

    Raises:
        InvalidOption: too many backbones to compare all subsets.
    """
    sizes = [_size(name) for name in predictions.backbones]
    own = [at for at, size in enumerate(sizes) if size != SMALL]
    places = own if own and among == "own" else list(range(len(sizes)))
    voters = replace(
        predictions,
        backbones=tuple(predictions.backbones[at] for at in places),
        members=predictions.members[places],
    )
    source = OutOfFoldAlone(voters, measure) if unseen is None else OnTest(voters, unseen, measure)
    networks = _networks(predictions, unseen, source.same, measure)
    rows = [*_single_rows(networks, source.same), *_vote_rows(source)]
    theirs, honest = source.chosen()
    scored = predictions if unseen is None else unseen
    return PaperTables(
        measure=measure,
        tested=unseen is not None,
        networks=networks,
        rows=tuple(rows),
        voting=voters.backbones,
        picked=tuple(source.picked),
        theirs=theirs,
        honest=honest,
        subsets=source.subsets,
        out_of_fold=source.out_of_fold,
        knees=len(scored.knees),
        patients=len(set(scored.patients)),
        warnings=tuple(_warnings(predictions, unseen)),
    )


def _size(backbone: str) -> int:
    return int(backbone.rsplit("-", 1)[1])


def _warnings(predictions: OutOfFold, unseen: Unseen | None) -> list[str]:
    found = [] if unseen is None else unseen.warnings
    if predictions.left_out:
        found.append(
            f"{predictions.left_out} knees are left out, for some backbones held them out and "
            "others did not: not all folds are finished"
        )
    return found


def _networks(
    predictions: OutOfFold, unseen: Unseen | None, same: SameKnees, measure: Measure
) -> tuple[BackboneRow, ...]:
    rows = []
    for name, members in zip(predictions.backbones, predictions.members, strict=True):
        if unseen is None:
            grades, truth = members.argmax(axis=1), predictions.truth
            row = out_of_fold(name, _size(name), grades, predictions.folds, same, truth, measure)
        else:
            row = on_test(name, _size(name), unseen.networks[name], same, unseen.truth, measure)
        rows.append(row)
    return tuple(rows)


def _single_rows(networks: Sequence[BackboneRow], same: SameKnees) -> list[Row]:
    """The lines of the single networks: at 224 pixels, and at their own size."""
    rows = []
    for where, small in ((f"{SMALL} pixels", True), ("their own size", False)):
        group = [row for row in networks if (row.size == SMALL) is small]
        if not group:
            continue
        name = f"{len(group)} single network{'s' * (len(group) > 1)} at"
        mean = _estimates(mean_of([row.mean_draws for row in group]), same)
        what = f"{where}, mean over folds"
        rows.append(Row(f"{name} {what}", mean, mean, None, reported=REPORTED.get(what)))
        what = f"{where}, best fold of each"
        best = _best_folds(group, same)
        rows.append(Row(f"{name} {what}", *best, reported=REPORTED.get(what)))
    return rows


def _best_folds(
    group: Sequence[BackboneRow], same: SameKnees
) -> tuple[Estimates, Estimates, Estimates]:
    """The mean of the best folds, of the honest ones, and the optimism."""
    if len(group) == 1:  # not a mean: its own intervals
        return group[0].best.estimates, group[0].honest_estimates, group[0].optimism
    theirs = mean_of([row.best.draws for row in group])
    honest = mean_of([row.honest_draws for row in group])
    estimates = _estimates(theirs, same), _estimates(honest, same)
    return *estimates, _difference(theirs, honest, same)


def _vote_rows(source: OnTest | OutOfFoldAlone) -> list[Row]:
    """The lines of the votes."""
    count, several = len(source.names), len(source.names) > 1
    pairs = []
    for rule in PAPER_RULES if several else ():
        pairs.append((f"all {count}, {rule} voting", source.whole(rule), f"all, {rule}"))
    for rule in PAPER_RULES if several else ():
        only: list[AnyRule] = [rule]
        name = f"best subset, {rule} voting"
        pairs.append((name, source.best(only), f"best subset, {rule}"))
    pairs.append(("best subset and rule", source.best(PAPER_RULES), ""))
    rows = []
    for what, pair, key in pairs:
        optimism = {m: source.same.difference(m, pair.theirs, pair.honest) for m in SHOWN}
        rows.append(
            Row(
                what,
                _scored(pair.theirs, source.same),
                _scored(pair.honest, source.same),
                None if pair.same else optimism,
                *(pair.their_choice, pair.honest_choice, REPORTED.get(key), pair.voters),
            )
        )
    if isinstance(source, OnTest):
        grades, words = source.all_folds()
        estimates = _scored(grades, source.same)
        rows.append(Row("the honest vote, all folds", None, estimates, None, "", words))
    return rows


def _scored(grades: Grades, same: SameKnees) -> Estimates:
    return {measure: same.estimate(measure, grades) for measure in SHOWN}


def _estimates(draws: Draws, same: SameKnees) -> Estimates:
    return {measure: same.of_mean(draws[measure]) for measure in SHOWN}


def _difference(theirs: Draws, honest: Draws, same: SameKnees) -> Estimates:
    return {measure: same.of_difference(theirs[measure] - honest[measure]) for measure in SHOWN}
