"""What is measured of the joint space of one knee: margins, widths, and what could not be told.

Points are (x, y) in the pixels that `kellgren.knee.Region` counts in: of the radiograph as it was
read, the picture's corner being 0, 0. Where a file's pixels are not square, divide by
`KneeCrop.stretch` for those of the file. An uncertainty is one standard deviation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Point = tuple[float, float]
"""(x, y) in pixels of the radiograph as it was read."""

CompartmentName = Literal["medial", "lateral", "left", "right"]
"""Left and right are those of the picture, of a knee whose side is not known."""

Bone = Literal["femur", "tibia"]


@dataclass(frozen=True, slots=True)
class Margin:
    """The edge of one bone in one compartment, from the picture's left to its right.

    Attributes:
        points: at least two.
        told: for each point, whether the picture shows the edge there; widths leave out the rest.
        corrected: a person moved it.
    """

    points: tuple[Point, ...]
    told: tuple[bool, ...]
    corrected: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, points to a hundredth of a pixel."""
        return {
            "points": [[round(x, 2), round(y, 2)] for x, y in self.points],
            "told": list(self.told),
            "corrected": self.corrected,
        }


@dataclass(frozen=True, slots=True)
class Measure:
    """A length.

    Attributes:
        ratio: to the condylar width.
        ratio_uncertainty: of the ratio; ``None``: not known, as after a correction by hand.
        mm: in millimetres; ``None`` where the spacing of the pixels cannot be trusted.
        mm_uncertainty: of them, the spacing taken as exact.
    """

    ratio: float
    ratio_uncertainty: float | None = None
    mm: float | None = None
    mm_uncertainty: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """Ratios to five, millimetres to three decimals, as plain values for JSON."""
        return {
            "ratio": round(self.ratio, 5),
            "ratio_uncertainty": _rounded(self.ratio_uncertainty, 5),
            "mm": _rounded(self.mm, 3),
            "mm_uncertainty": _rounded(self.mm_uncertainty, 3),
        }


@dataclass(frozen=True, slots=True)
class FixedWidth:
    """The width at a fixed place, along the perpendicular to the condylar width.

    Attributes:
        x: of the condylar width, counted from the medial side; from the picture's left where the
            side of the knee is not known.
        width: ``None``: a margin cannot be told there.
    """

    x: float
    width: Measure | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"x": self.x, "width": None if self.width is None else self.width.to_dict()}


@dataclass(frozen=True, slots=True)
class Compartment:
    """The joint space of one compartment.

    Attributes:
        name: of the compartment.
        femur: margin of the condyle.
        tibia: margin of the plateau's floor.
        minimum: the least width along the perpendicular to the condylar width, among the
            weight-bearing places, 0.13 to 0.20 of it from its nearer end; ``None``: not measured.
        mean: width, over the places where both margins are told.
        fixed: widths at fixed places.
        narrowest: ends of the minimum, on the femur and on the tibia.
        note: why something was not measured, or what to doubt; empty: nothing.
    """

    name: CompartmentName
    femur: Margin
    tibia: Margin
    minimum: Measure | None
    mean: Measure | None
    fixed: tuple[FixedWidth, ...]
    narrowest: tuple[Point, Point] | None
    note: str = ""

    @property
    def corrected(self) -> bool:
        """Whether a person moved one of its margins."""
        return self.femur.corrected or self.tibia.corrected

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        ends = self.narrowest
        return {
            "name": self.name,
            "minimum": None if self.minimum is None else self.minimum.to_dict(),
            "mean": None if self.mean is None else self.mean.to_dict(),
            "fixed": [place.to_dict() for place in self.fixed],
            "narrowest": None if ends is None else [[round(x, 2), round(y, 2)] for x, y in ends],
            "femur": self.femur.to_dict(),
            "tibia": self.tibia.to_dict(),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class JointSpace:
    """The joint space of one knee.

    Attributes:
        compartments: of the picture's left and of its right.
        condyles: ends of the condylar width, from the picture's left to its right. The line
            through them is the axis along which places are counted.
        mm_per_pixel: of the pixels that the points count in; ``None``: no millimetres.
        spacing: where the millimetres come from, or why there are none.
        difference: minimum of the lateral less that of the medial compartment, of the right less
            the left where the side is not known; ``None``: one is missing.
        convergence_angle: degrees between the line below the condyles and that of the plateaus,
            positive where they meet on the medial side, or on the picture's left.
        convergence_uncertainty: of the angle.
        condylar_uncertainty: of the condylar width, relative to it.
    """

    compartments: tuple[Compartment, Compartment]
    condyles: tuple[Point, Point]
    mm_per_pixel: float | None
    spacing: str
    difference: Measure | None
    convergence_angle: float | None
    convergence_uncertainty: float | None = None
    condylar_uncertainty: float | None = None

    @property
    def medial(self) -> Compartment | None:
        """The medial compartment; ``None`` where the side of the knee is not known."""
        return self.compartment("medial")

    @property
    def lateral(self) -> Compartment | None:
        """The lateral compartment; ``None`` where the side of the knee is not known."""
        return self.compartment("lateral")

    @property
    def condylar_width(self) -> float:
        """In pixels of the radiograph as it was read."""
        return math.dist(*self.condyles)

    @property
    def condylar_width_mm(self) -> float | None:
        """In millimetres, where the spacing is trusted."""
        return None if self.mm_per_pixel is None else self.condylar_width * self.mm_per_pixel

    @property
    def corrected(self) -> bool:
        """Whether a person moved a margin."""
        return any(compartment.corrected for compartment in self.compartments)

    def compartment(self, name: CompartmentName) -> Compartment | None:
        """The compartment of this name, if there is one."""
        return next((one for one in self.compartments if one.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "compartments": [compartment.to_dict() for compartment in self.compartments],
            "condyles": [[round(x, 2), round(y, 2)] for x, y in self.condyles],
            "condylar_width": round(self.condylar_width, 2),
            "condylar_width_mm": _rounded(self.condylar_width_mm, 2),
            "mm_per_pixel": self.mm_per_pixel,
            "spacing": self.spacing,
            "difference": None if self.difference is None else self.difference.to_dict(),
            "convergence_angle": _rounded(self.convergence_angle, 2),
            "convergence_uncertainty": _rounded(self.convergence_uncertainty, 2),
            "condylar_uncertainty": _rounded(self.condylar_uncertainty, 4),
            "corrected": self.corrected,
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
