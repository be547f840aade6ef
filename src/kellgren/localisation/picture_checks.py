"""Checks by the picture gate and by the colours: what is no native frontal knee, in words."""

from __future__ import annotations

from collections.abc import Sequence

from kellgren.imaging.colour import READ_AS_GREY, Colours
from kellgren.knee import Plane
from kellgren.localisation.check import Check
from kellgren.localisation.picture_gate import Limits, default_gate
from kellgren.localisation.picture_scores import Scores
from kellgren.localisation.quality import check_implant

_FEW, _MANY = 0.005, 0.02  # shares of a picture's pixels
_ONE_HUE = 0.95
_MUCH_GREY = 0.05


def gate_checks(knee: Plane, *, corrected: bool) -> tuple[Check, Check, Check]:
    """What the gate says of one knee: the picture, implants and growth plates.

    What is likelier of the last two comes first, because a refusal names the first reason.

    Args:
        knee: upright, bone bright, cut as for the members.
        corrected: the picture was turned or inverted for it, so that it must be surer.
    """
    gate = default_gate()
    scores, limits = gate.scores(knee), gate.limits(corrected=corrected)
    picture = check_picture(scores, limits)
    metal = check_metal(scores, limits, gate.card.warned, check_implant(knee))
    plates = check_growth_plates(scores, limits, gate.card.warned)
    if scores.growth_plates > scores.metal:
        return picture, plates, metal
    return picture, metal, plates


def check_picture(scores: Scores, limits: Limits) -> Check:
    """Whether the knee looks like frontal knees do; one with an implant is no other view for it."""
    measured = f"distance {scores.distance:.2f}, at most {limits.distance:.2f} is allowed"
    far = round(scores.distance, 4)
    if scores.distance > limits.distance:
        return Check("picture", "refused", f"unlike radiographs of frontal knees ({measured})", far)
    altered = scores.metal > limits.metal or scores.growth_plates > limits.growth_plates
    if scores.other > limits.other and not altered:
        score = f"score {scores.other:.1f}, at most {limits.other:.1f} is allowed"
        return Check(
            "picture", "refused", f"another view or joint, or no radiograph ({score})", far
        )
    return Check(
        "picture", "passed", f"looks like a radiograph of a frontal knee ({measured})", far
    )


def check_metal(scores: Scores, limits: Limits, warned: Limits, white: Check) -> Check:
    """Whether an implant is to be seen; where none is, whether white areas look like metal.

    Args:
        scores: of the knee.
        limits: above which it is refused.
        warned: above which it is warned of.
        white: the check of its white areas.
    """
    measured = f"score {scores.metal:.1f}, at most {limits.metal:.1f} is allowed"
    if scores.metal > limits.metal:
        return Check("implant", "refused", f"an implant is to be seen ({measured})")
    if scores.metal > warned.metal:
        return Check("implant", "warning", f"perhaps an implant ({measured})")
    if white.verdict != "passed":
        return white
    return Check("implant", "passed", f"no sign of an implant ({measured})")


def check_growth_plates(scores: Scores, limits: Limits, warned: Limits) -> Check:
    """Whether growth plates are open: the grades are defined for adults."""
    score = scores.growth_plates
    measured = f"score {score:.1f}, at most {limits.growth_plates:.1f} is allowed"
    if score > limits.growth_plates:
        text = f"open growth plates are to be seen: no adult's knee ({measured})"
        return Check("growth_plates", "refused", text)
    if score > warned.growth_plates:
        return Check("growth_plates", "warning", f"perhaps open growth plates ({measured})")
    return Check("growth_plates", "passed", f"no open growth plates ({measured})")


def check_certainty(view: Check, confidence: float) -> Check:
    """The check of the view, refused where a picture was corrected for an uncertain knee.

    Args:
        view: what the check says so far.
        confidence: of the knee detector, in the picture turned or inverted.
    """
    least = default_gate().card.corrected_confidence
    if view.verdict == "refused" or confidence >= least:
        return view
    return Check(
        "view",
        "refused",
        "turned or inverted to find a knee, and not certain enough to be one "
        f"(confidence {confidence:.2f}, at least {least:.2f} is asked for)",
    )


def check_colour(colours: Colours | None) -> Check:
    """Whether the colours are those of a radiograph: none, or one tint."""
    if colours is None or colours.share < _FEW:
        return Check("colour", "passed", "a grey picture")
    measured = f"{colours.share:.0%} of it are in colour"
    if colours.agreement >= _ONE_HUE:
        if colours.strong > _MANY and colours.grey > _MUCH_GREY:
            return Check("colour", "refused", f"a drawing or a marked picture: {measured}")
        text = (
            f"tinted, perhaps a photo of a screen or light box: do not trust its grade ({measured})"
        )
        return Check("colour", "warning", text)
    if colours.share > _MANY:
        text = f"a heat map, photo or composite, no radiograph: {measured}, in several hues"
        return Check("colour", "refused", text)
    return Check("colour", "warning", f"coloured marks: {measured}")


def film_warnings(warnings: Sequence[str], checks: Sequence[Check]) -> tuple[str, ...]:
    """Warnings of a file as it was read, without what a check of its colours says in more words."""
    told = any(check.name == "colour" and check.verdict != "passed" for check in checks)
    return tuple(warning for warning in warnings if not (told and warning == READ_AS_GREY))
