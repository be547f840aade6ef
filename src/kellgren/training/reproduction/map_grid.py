"""Some knees under each member's class-activation map, and under the ensemble's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kellgren.data.manifest import Knee
from kellgren.evaluation_report.map_test import in_turns
from kellgren.explanation.cam import activation_map, ensemble_maps, heat
from kellgren.explanation.overlay import blend
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.runtime import MemberOutput, MemberRuntime
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Plane
from kellgren.localisation.crop import whole_knee
from kellgren.training.run_folder import HEAD, MODEL
from kellgren.training.selection.out_of_fold import Run

_TILE, _GAP, _LEFT, _TOP = 200, 6, 74, 46
_PAPER, _INK, _QUIET, _ACCENT = "white", "#16202b", "#5c6875", "#14609c"
SEED = 42


@dataclass(frozen=True, eq=False)
class Member:
    """One column of the grid.

    Attributes:
        name: of the backbone.
        runs: by fold; ``None`` as the only key: the same for every knee.
        votes: whether it takes part in the chosen vote.
    """

    name: str
    runs: dict[int | None, Run]
    votes: bool


def some_knees(truth: Sequence[int], most: int) -> list[int]:
    """Positions of at most so many knees, each true grade in its turn, ordered by grade."""
    grades = np.asarray(truth, dtype=np.int64)
    turns = in_turns(grades, np.random.default_rng(SEED))
    chosen = [knee for _, knee in zip(range(most), turns, strict=False)]
    return sorted(chosen, key=lambda knee: (int(grades[knee]), knee))


def draw_grid(
    members: Sequence[Member],
    knees: Sequence[tuple[Knee, int, int]],
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Image.Image:
    """Draw knees as rows and members as columns, the ensemble's map last.

    Each map is of the grade that the vote gives the knee: the positive evidence for it, each scaled
    to its own peak. The ensemble's is the mean of its members' activations, not of their colours.

    Args:
        members: all that are shown; those that vote make the ensemble.
        knees: with the fold that each was held out by, and the grade that the vote gives it.
        progress: called with how many networks of how many are done.

    Raises:
        UnreadableRadiograph: a picture that does not decode.
        BundleError: a network that cannot be run.
    """
    crops = [whole_knee(read_radiograph(knee.image), knee.side) for knee, *_ in knees]
    outputs: list[list[MemberOutput]] = [[] for _ in knees]
    for done, member in enumerate(members):
        for fold in {_key(member, fold) for _, fold, _ in knees}:
            runtime = _runtime(member.runs[fold])
            for row, (_, its_fold, _) in enumerate(knees):
                if _key(member, its_fold) == fold:
                    outputs[row].append(runtime.examine(crops[row]))
        progress(done + 1, len(members))
    sheet = _Sheet(len(members) + 2, len(knees))
    sheet.head(0, "knee")
    for column, member in enumerate(members, start=1):
        sheet.head(column, member.name, votes=member.votes)
    sheet.head(len(members) + 1, "ensemble")
    for row, (knee, _, grade) in enumerate(knees):
        pixels = crops[row].pixels
        sheet.side(row, f"KL {int(knee.grade or 0)}", f"vote {grade}")
        sheet.picture(row, 0, _grey(pixels), "")
        for column, output in enumerate(outputs[row], start=1):
            given = int(output.logits.argmax())
            sheet.picture(row, column, _mapped(pixels, activation_map(output, grade)), f"{given}")
        voting = [it for it, m in zip(outputs[row], members, strict=True) if m.votes]
        whole = ensemble_maps(voting, [1.0 / len(voting)] * len(voting))[grade]
        sheet.picture(row, len(members) + 1, _mapped(pixels, whole), f"{grade}")
    return sheet.image


def _key(member: Member, fold: int) -> int | None:
    return None if None in member.runs else fold


def _runtime(run: Run) -> MemberRuntime:
    preprocess = Preprocess.model_validate(run.facts["preprocess"])
    return MemberRuntime(run.folder / MODEL, run.folder / HEAD, preprocess)


def _grey(pixels: Plane) -> Image.Image:
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).convert("RGB")


def _mapped(pixels: Plane, evidence: Any) -> Image.Image:
    shape = (int(pixels.shape[0]), int(pixels.shape[1]))
    return blend(pixels, heat(evidence, shape))


class _Sheet:
    """A grid of pictures with a word above each column and two beside each row."""

    def __init__(self, columns: int, rows: int) -> None:
        size = (_LEFT + columns * (_TILE + _GAP), _TOP + rows * (_TILE + _GAP))
        self.image = Image.new("RGB", size, _PAPER)
        self._pen = ImageDraw.Draw(self.image)

    def head(self, column: int, words: str, votes: bool = False) -> None:
        middle = _LEFT + column * (_TILE + _GAP) + _TILE / 2
        font = _fitting(words, _TILE - 24)
        self._pen.text((middle, _TOP / 2), words, _INK, font, "mm")
        if votes:  # a dot: the font has none
            left, top = middle + font.getlength(words) / 2 + 5, _TOP / 2 - 3
            self._pen.ellipse((left, top, left + 7, top + 7), fill=_ACCENT)

    def side(self, row: int, *lines: str) -> None:
        top = _TOP + row * (_TILE + _GAP) + _TILE / 2 - 14
        for number, words in enumerate(lines):
            colour = _QUIET if number else _INK
            self._pen.text((6, top + 24 * number), words, colour, _font(17), "lm")

    def picture(self, row: int, column: int, picture: Image.Image, grade: str) -> None:
        left, top = _LEFT + column * (_TILE + _GAP), _TOP + row * (_TILE + _GAP)
        scale = _TILE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        place = (left + (_TILE - size[0]) // 2, top + (_TILE - size[1]) // 2)
        self.image.paste(picture.resize(size, Image.Resampling.LANCZOS), place)
        if grade:
            corner = (left + 9, top + 6)
            self._pen.text(
                corner, grade, "white", _font(20), "la", stroke_width=3, stroke_fill="black"
            )


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _fitting(words: str, width: int) -> Any:
    """The largest font of 17 pixels and less in which the words are no wider than that."""
    for size in range(17, 8, -1):
        if _font(size).getlength(words) <= width:
            return _font(size)
    return _font(8)
