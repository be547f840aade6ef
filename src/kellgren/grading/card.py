"""The card of a bundle: its networks, their vote, data, scores and files."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from kellgren.grades import Grade
from kellgren.grading.calibration import OrdinalShift
from kellgren.grading.card_parts.detail_range import DetailRange
from kellgren.grading.card_parts.int8_facts import Int8Check, Int8Member
from kellgren.grading.card_parts.one_look import OneLook
from kellgren.grading.card_parts.part import Part
from kellgren.grading.combiner import Combiner
from kellgren.grading.contralateral import BothKnees
from kellgren.grading.elsewhere import Elsewhere
from kellgren.grading.grade_sets import GradeSets
from kellgren.grading.naming import NamingRule
from kellgren.grading.preprocess import Preprocess

FORMAT = 8
Weights = Literal["fp16", "int8"]


class MemberCard(Part):
    """One network of the bundle.

    Attributes:
        name: unique in the bundle.
        backbone: of the vote. Networks of one backbone were trained alike on different folds; the
            mean of their logits gives its one vote.
        architecture: of the registry.
        model: ONNX file in the bundle.
        head: NPZ file with the head's weights.
        preprocess: what the network sees.
        recipe: that it was trained with, whole.
        recipe_hash: of that recipe.
        started_from: the weights that training began with, and their credit.
        trained_folds: which folds it learnt from; the others it never saw. All of them for a
            final, whose scores are those of its recipe's networks on folds.
        knees: how many it learnt from; ``None`` in a card from before format 4.
        patients: whose knees these are.
        weights: how the large ones are stored, where all sums are done in fp32.
        int8: of a network that is computed in int8; ``None``: it is computed in fp32.
    """

    name: str
    backbone: str
    architecture: str
    model: str
    head: str
    preprocess: Preprocess
    recipe: dict[str, Any]
    recipe_hash: str
    started_from: str
    trained_folds: tuple[int, ...]
    knees: int | None = None
    patients: int | None = None
    weights: Weights = "fp16"
    int8: Int8Member | None = None

    def learnt_from(self, folds: int) -> str:
        """Such as ``5282 knees of 2641 patients: folds 1, 2, 3, 4 of 0 to 4``.

        Args:
            folds: how many there are.
        """
        named = ", ".join(map(str, self.trained_folds)) or "none"
        trained_on = (
            f"all {folds} folds"
            if len(self.trained_folds) == folds
            else (f"folds {named} of 0 to {folds - 1}")
        )
        if self.knees is None:
            return trained_on
        return f"{self.knees} knees of {self.patients} patients: {trained_on}"


class Pictures(Part):
    """The files of the training data of one format.

    Attributes:
        format: such as JPEG, PNG or DICOM; ``not read`` for those that were not there any more.
        knees: how many.
        width: smallest and largest, pixels; ``None`` where the header was not read.
        height: likewise.
    """

    format: str
    knees: int
    width: tuple[int, int] | None = None
    height: tuple[int, int] | None = None

    @property
    def words(self) -> str:
        """Such as ``6604 JPEG of 299 x 299 pixels``."""
        if self.width is None or self.height is None:
            return f"{self.knees} {self.format}"
        sides = (
            str(low) if low == high else f"{low} to {high}"
            for low, high in (self.width, self.height)
        )
        return f"{self.knees} {self.format} of {' x '.join(sides)} pixels"


class TrainingData(Part):
    """What the members were trained on, and its credit.

    Attributes:
        name: of the data set.
        licence: of the data set.
        credit: whom to cite.
        knees: that at least one of the networks learnt from.
        patients: whose knees these are.
        folds_hash: of the assignment of patients to folds.
        folds: how many.
        population: whose knees: cohort, ages, place; empty in a card from before format 5.
        limits: which knees or pictures the data do not hold; empty likewise.
        pictures: what the files were; empty where the card does not state it.
        notes: what else a user of the data or of the starting weights must know.
    """

    name: str
    licence: str
    credit: str
    knees: int
    patients: int
    folds_hash: str
    folds: int
    population: str = ""
    limits: str = ""
    pictures: tuple[Pictures, ...] = ()
    notes: tuple[str, ...] = ()


class StorageCheck(Part):
    """What storing weights as int8 changed, on real knees, against fp16.

    Attributes:
        knees: compared.
        out_of_fold: whether no network of the bundle had learnt from them.
        agreement: share whose grade is the same.
        largest_shift: of any grade's calibrated probability.
    """

    knees: int
    out_of_fold: bool
    agreement: float
    largest_shift: float

    @property
    def words(self) -> str:
        """One line."""
        kind = "held-out knees" if self.out_of_fold else "knees of the training data"
        return (
            f"int8: {self.agreement:.1%} of {self.knees} {kind} graded as with fp16, "
            f"largest shift of a probability {self.largest_shift:.3f}"
        )


class LocalData(Part):
    """The knees that a bundle was calibrated to, as those who calibrated it name them.

    Attributes:
        name: of the data.
        licence: of the data; ``not stated`` where nobody said.
        credit: whom to cite; likewise.
        limits: what the data do not cover; likewise.
        knees: graded by local readers.
        patients: whose knees these are.
        of_grade: knees of each local grade.
    """

    name: str
    licence: str
    credit: str
    limits: str
    knees: int
    patients: int
    of_grade: tuple[int, ...] = Field(min_length=5, max_length=5)


class LocalCalibration(Part):
    """The step from the grades that a bundle learnt to those of a hospital's own readers.

    Attributes:
        shift: applied to every distribution, last of all.
        data: that it was fitted to.
        bundle: name and checksum of the bundle that was calibrated.
        software: that fitted it.
        order: rank correlation of the local grades with the bundle's expected grades, -1..1.
        evidence: logarithm of how much likelier the grades are with the shift than without.
        before: scores of the bundle as delivered on the local knees, with intervals.
        after: scores with the shift, each knee by a fit without its part of the patients.
    """

    shift: OrdinalShift
    data: LocalData
    bundle: str
    software: str
    order: float
    evidence: float
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def words(self) -> str:
        """As every reading states it, such as ``St. Elsewhere, 120 knees of 80 patients``."""
        return f"{self.data.name}, {self.data.knees} knees of {self.data.patients} patients"


class Card(Part):
    """All that is known of a bundle.

    Attributes:
        format: of the bundle; a newer one is refused.
        name: of the bundle.
        version: of the software that wrote it.
        grades: what the five outputs mean, in order.
        scale: which Kellgren-Lawrence version the labels follow.
        members: the networks.
        combiner: how the backbones' distributions become one, fitted out of fold.
        both_knees: the model of the contralateral knee; ``None`` where no gain was shown.
        grade_sets: of knees read alone; ``None`` in a card from before format 5.
        grade_sets_paired: of knees read with the contralateral one; ``None`` where it is not used.
        naming: when a grade is named; ``None``: always.
        detail: the fine detail of the knees that the sets were fitted on: a knee beyond it has a
            lower word for certainty and a wider set; ``None``: not measured.
        one_look: what is lost by one look at a knee; where a card has it, one is taken unless the
            user asks for both. ``None``: two looks.
        data: what they learnt from.
        storage: what int8 weights changed; ``None`` where none are stored so.
        int8: what computing in int8 changed in the vote; ``None`` where no network does.
        local_calibration: to a hospital's own readers; ``None`` where there is none.
        out_of_fold: scores with intervals on knees held out of the members' training, each knee
            by a combiner that was chosen and fitted without its patient.
        out_of_fold_paired: the same, with the contralateral knee, and the gain over reading alone.
        elsewhere: scores on knees of other hospitals, where they were graded.
        versions: of the libraries used in training and export.
        files: SHA-256 of every other file in the bundle.
        intended_use: and what it is not for.
        seal: SHA-256 of the card's own text without this value; empty in one written by hand.
    """

    format: int
    name: str
    version: str
    grades: tuple[str, ...] = Field(min_length=5, max_length=5)
    scale: str
    members: tuple[MemberCard, ...] = Field(min_length=1)
    combiner: Combiner
    both_knees: BothKnees | None = None
    grade_sets: GradeSets | None = None
    grade_sets_paired: GradeSets | None = None
    naming: NamingRule | None = None
    detail: DetailRange | None = None
    one_look: OneLook | None = None
    data: TrainingData
    storage: StorageCheck | None = None
    int8: Int8Check | None = None
    local_calibration: LocalCalibration | None = None
    out_of_fold: dict[str, Any]
    out_of_fold_paired: dict[str, Any] | None = None
    elsewhere: tuple[Elsewhere, ...] = ()
    versions: dict[str, str]
    files: dict[str, str]
    intended_use: str
    seal: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    def right_share(self, certainty: str) -> float | None:
        """Share of right grades among the out-of-fold knees of a word for certainty, if measured.

        Where there is a local calibration: among its knees, each by a fit without its patient.

        Args:
            certainty: ``high``, ``moderate`` or ``low``.
        """
        local = self.local_calibration
        scores = self.out_of_fold if local is None else local.after
        measured = scores.get("certainty", {}).get(certainty, {}).get("accuracy")
        return None if measured is None else float(measured)

    @model_validator(mode="before")
    @classmethod
    def _of_format_1(cls, content: Any) -> Any:
        """A card of format 1 has one member, and its calibration beside it."""
        if not isinstance(content, dict) or content.get("format") != 1:
            return content
        members = content.get("members")
        if not isinstance(members, list) or len(members) != 1 or not isinstance(members[0], dict):
            raise ValueError("a card of format 1 must have one member")
        name = members[0].get("name")
        combiner = {"members": [name], "weights": [1.0]}
        for key, there in (("voting", "rule"), ("temperature", "temperature"), ("bias", "bias")):
            if key in content:
                combiner[there] = content[key]
        kept = {k: v for k, v in content.items() if k not in ("voting", "temperature", "bias")}
        current = {"format": FORMAT, "combiner": combiner}
        return kept | current | {"members": [{"backbone": name, **members[0]}]}

    @field_validator("grades")
    @classmethod
    def _in_order(cls, grades: tuple[str, ...]) -> tuple[str, ...]:
        """The outputs of another order, or of another scale, would be shown as these grades."""
        expected = tuple(grade.label for grade in Grade)
        if grades != expected:
            raise ValueError(f"the grades must be {', '.join(expected)}, in this order")
        return grades

    @model_validator(mode="after")
    def _backbones_vote(self) -> Self:
        if {member.backbone for member in self.members} != set(self.combiner.members):
            raise ValueError("the combiner's members are not the backbones of the networks")
        if len({member.name for member in self.members}) != len(self.members):
            raise ValueError("two networks have the same name")
        return self
