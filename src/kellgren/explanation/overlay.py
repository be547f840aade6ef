"""The picture of a reading: the knee, the class-activation map, the grade and its probabilities."""

from __future__ import annotations

import io
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from kellgren.exchange.own_output import PNG_KEYWORD, PNG_TEXT
from kellgren.explanation.margins_drawn import with_margins
from kellgren.grades import NOT_NAMED, NOTICE, Grade, Side
from kellgren.grading.judgement import GradeSet, right_in, set_name
from kellgren.joint_space.measurement import JointSpace
from kellgren.joint_space.telling.placing import Corners
from kellgren.knee import Plane

Colour = tuple[int, int, int]

KNEE = 440  # height and width of a knee on the sheet, pixels
_MARGIN, _GAP, _BAR = 28, 18, 14
_TOP, _BOTTOM = 104, 168
_ROWS, _ROW, _LETTERS = 3, 22, 145  # lines that fit below, their distance, and their length
_PAPER: Colour = (16, 19, 24)
_INK: Colour = (236, 239, 244)
_QUIET: Colour = (146, 155, 168)
_TRACK: Colour = (38, 44, 54)
GRADE_COLOURS: tuple[Colour, ...] = (
    (94, 186, 140),
    (168, 200, 108),
    (238, 196, 84),
    (240, 144, 76),
    (228, 88, 88),
)
_HEAT_STOPS = np.array(
    [(0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164)],
    dtype=np.float32,
)
_STRONGEST = 0.62  # how far the map may cover the bone


@dataclass(frozen=True, slots=True)
class Caption:
    """The words on the sheet; nothing in it names the patient or the file."""

    grade: Grade
    side: Side
    probabilities: tuple[float, ...]
    certainty: str
    right_share: float | None
    """Of right grades among the held-out knees of that certainty."""
    grade_set: GradeSet
    model: str
    named: bool = True
    """Whether the reading names its grade, or only says that it is the most probable one."""
    mapped: Grade | None = None
    """The grade whose map is shown; without it, the grade itself."""
    with_other: bool = False
    """Whether the contralateral knee was taken into account."""
    mapping: str = "class-activation mapping"
    """How the map was made."""
    forced: bool = False
    """Whether a check refused the picture, and it was graded all the same."""
    calibrated_to: str = ""
    """The local knees to whose readers the model was calibrated, if it was."""
    doubts: tuple[str, ...] = ()
    """What speaks against naming the grade."""
    beyond: bool = False
    """Whether unusual fine detail lowered the word for certainty."""


def heat_colours(heat: Plane) -> Plane:
    """Colours for a map in 0..1: ``(..., 3)`` in 0..255, dark to bright in lightness."""
    position = np.clip(heat, 0.0, 1.0) * (len(_HEAT_STOPS) - 1)
    lower = np.minimum(position.astype(int), len(_HEAT_STOPS) - 2)
    share = (position - lower)[..., None]
    mixed = _HEAT_STOPS[lower] * (1 - share) + _HEAT_STOPS[lower + 1] * share
    return np.asarray(mixed, dtype=np.float32)


def blend(pixels: Plane, heat: Plane) -> Image.Image:
    """Lay a map over a knee, both ``(H, W)`` in 0..1; where the map is weak the bone shows."""
    grey = np.repeat(pixels[..., None] * 255.0, 3, axis=2)
    cover = (heat * _STRONGEST)[..., None]
    mixed = grey * (1 - cover) + heat_colours(heat) * cover
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def draw_overlay(
    pixels: Plane,
    heat: Plane,
    caption: Caption,
    joint_space: tuple[JointSpace, Corners] | None = None,
) -> Image.Image:
    """Draw the sheet.

    Args:
        pixels: ``(H, W)`` the knee, 0..1, bone bright.
        heat: ``(H, W)`` the map, 0..1.
        caption: the words.
        joint_space: drawn over the knee, with the corners of the knee's picture.
    """
    width = 2 * _MARGIN + 2 * KNEE + _GAP + 64
    words = _words(caption)
    longer = max(0, len(words) - _ROWS) * _ROW
    sheet = Image.new("RGB", (width, _TOP + KNEE + _BOTTOM + longer), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _title(pen, caption)
    plain = Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).convert("RGB")
    right = _MARGIN + KNEE + _GAP
    for left, picture in ((_MARGIN, plain), (right, blend(pixels, heat))):
        sheet.paste(_fit(picture), (left, _TOP))
        _side_marker(pen, left, caption.side)
    if joint_space is not None:
        sheet.paste(with_margins(_fit(plain), plain.size, *joint_space), (_MARGIN, _TOP))
        _side_marker(pen, _MARGIN, caption.side)
    _colour_bar(sheet, pen, right + KNEE + 14)
    _probabilities(pen, caption, width)
    for row, (line, colour) in enumerate(words):
        place = (_MARGIN, _TOP + KNEE + 84 + _ROW * row)
        pen.text(place, line, colour, _font(14), "lt")
    return sheet


def draw_refusal(pixels: Plane, side: Side, reason: str) -> Image.Image:
    """Draw the sheet of a joint that is not graded: the joint, and the reason beside it.

    Args:
        pixels: ``(H, W)`` the joint, 0..1, bone bright.
        side: of the joint.
        reason: one sentence.
    """
    width = 2 * _MARGIN + 2 * KNEE + _GAP + 64
    sheet = Image.new("RGB", (width, _TOP + KNEE + 2 * _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 54), "Not graded", _INK, _font(32), "lm")
    plain = Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).convert("RGB")
    sheet.paste(_fit(plain), (_MARGIN, _TOP))
    _side_marker(pen, _MARGIN, side)
    left = _MARGIN + KNEE + _GAP
    pen.multiline_text((left, _TOP), "\n".join(wrap(reason, 52)), _INK, _font(18), spacing=8)
    pen.text((left, _TOP + KNEE), NOTICE, _QUIET, _font(14), "ld")
    return sheet


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file, with the mark that keeps it from being graded."""
    stream = io.BytesIO()
    mark = PngInfo()
    mark.add_text(PNG_KEYWORD, PNG_TEXT)
    # Level 3: a third of the time, a tenth larger.
    picture.save(stream, "PNG", pnginfo=mark, compress_level=3)
    return stream.getvalue()


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fit(picture: Image.Image) -> Image.Image:
    """Scale to the frame without distortion, centred on black."""
    scale = KNEE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    frame = Image.new("RGB", (KNEE, KNEE))
    corner = ((KNEE - size[0]) // 2, (KNEE - size[1]) // 2)
    frame.paste(picture.resize(size, Image.Resampling.LANCZOS), corner)
    return frame


def _title(pen: ImageDraw.ImageDraw, caption: Caption) -> None:
    colour = GRADE_COLOURS[caption.grade] if caption.named else _QUIET
    pen.rounded_rectangle((_MARGIN, 24, _MARGIN + 60, 84), 10, fill=colour)
    sign = str(int(caption.grade)) if caption.named else "?"
    pen.text((_MARGIN + 30, 54), sign, _PAPER, _font(40), "mm")
    left = _MARGIN + 80
    grade = f"{int(caption.grade)}, {caption.grade.label}"
    name = f"Kellgren-Lawrence {grade}"
    if not caption.named:
        name = f"{NOT_NAMED[:1].upper()}{NOT_NAMED[1:]}: most probable {grade}"
    pen.text((left, 40), name, _INK, _font(25), "lm")
    held = caption.grade_set
    found = f"{caption.grade.finding}  ·  " if caption.named else ""
    line = f"{found}certainty {caption.certainty}, {set_name(held.level)}: grade {held.grades}"
    pen.text((left, 71), line, _QUIET, _font(15), "lm")


def _side_marker(pen: ImageDraw.ImageDraw, left: int, side: Side) -> None:
    if side is not Side.UNKNOWN:
        place = (left + 18, _TOP + 20)
        pen.text(place, side.value, _INK, _font(24), "mm", stroke_width=3, stroke_fill=_PAPER)


def _colour_bar(sheet: Image.Image, pen: ImageDraw.ImageDraw, left: int) -> None:
    ramp = np.linspace(1.0, 0.0, KNEE, dtype=np.float32)[:, None].repeat(_BAR, axis=1)
    bar = Image.fromarray(np.rint(heat_colours(ramp)).astype(np.uint8))
    sheet.paste(bar, (left, _TOP))
    for share, word in ((0.0, "most"), (0.5, "half"), (1.0, "none")):
        anchor = {0.0: "la", 0.5: "lm", 1.0: "ld"}[share]
        pen.text((left + _BAR + 6, _TOP + share * KNEE), word, _QUIET, _font(13), anchor)


def _probabilities(pen: ImageDraw.ImageDraw, caption: Caption, width: int) -> None:
    top = _TOP + KNEE + 24
    full = (width - 2 * _MARGIN - 4 * _GAP) / 5
    for grade in Grade:
        left = _MARGIN + grade * (full + _GAP)
        share = caption.probabilities[grade]
        ink = _INK if grade is caption.grade else _QUIET
        pen.text((left, top), f"{int(grade)}  {grade.label}", ink, _font(16), "la")
        pen.text((left + full, top), f"{share:.0%}", ink, _font(16), "ra")
        pen.rounded_rectangle((left, top + 26, left + full, top + 38), 6, fill=_TRACK)
        if share * full >= 3:
            box = (left, top + 26, left + max(8.0, share * full), top + 38)
            pen.rounded_rectangle(box, 6, fill=GRADE_COLOURS[grade])


def _words(caption: Caption) -> list[tuple[str, Colour]]:
    """The lines below the probabilities, each with its colour."""
    doubts = f"Doubts: {'; '.join(caption.doubts)}." if caption.doubts else ""
    forced = "Refused by a check, graded only because that was forced." if caption.forced else ""
    local = caption.calibrated_to and f"Calibrated to local readers: {caption.calibrated_to}"
    lines = (
        (_legend(caption), _QUIET),
        (_measured(caption), _QUIET),
        *((line, _INK) for line in wrap(doubts, _LETTERS)),
        (f"{NOTICE}  Model {caption.model}", _QUIET),
        (forced, GRADE_COLOURS[-1]),
        (local, _QUIET),
    )
    return [(line, colour) for line, colour in lines if line]


def _measured(caption: Caption) -> str:
    """How set and certainty held on held-out knees; empty where none measured that."""
    held = caption.grade_set.measured
    why = ", lowered for unusual fine detail" if caption.beyond else ""
    certainty = f"Certainty {caption.certainty}{why}{right_in(caption.right_share)}."
    return f"The set {held}.  {certainty}" if held else ""


def _legend(caption: Caption) -> str:
    """What the colours mean, and what else the grade rests on."""
    other = caption.mapped is not None and caption.mapped is not caption.grade
    grade = f"grade {int(caption.mapped or 0)}, not the one given" if other else "this grade"
    rest = "  The contralateral knee was taken into account too." if caption.with_other else ""
    return f"Colour: share of the evidence for {grade}, by {caption.mapping}.{rest}"
