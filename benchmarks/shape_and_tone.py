"""How many knees keep their grade when the same picture comes in another shape or tone.

    python benchmarks/shape_and_tone.py --data kneeKL299 [--knees 300] [--only WORD,WORD]
                                        [--share 0/2] [--csv FILE ...]

Each knee is graded as it was published; then it is written again with other pixels, depth, borders
or tone, as people's files are, and graded anew. What is compared is the answer to the same kind of
file without the fault: a refusal counts as a change. ``--csv`` keeps each knee's answer to each
variant, and goes on with what is not in it yet. Processes that each take a ``--share`` of the knees
write a file each; all of them named together are reported together.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from kellgren import Ensemble, Side
from kellgren.data.manifest import Knee, for_training, index
from kellgren.errors import KellgrenError
from kellgren.grading.panel import PanelOutput
from kellgren.knee import KneeCrop

Grey = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]
WHITE = 65535


def png(pixels: Grey | Words) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def dicom(pixels: Grey | Words, bits: int, tail: bytes = b"", **elements: Any) -> bytes:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4"
    made.Modality, made.BodyPartExamined, made.ViewPosition = "DX", "KNEE", "PA"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 8 * pixels.itemsize, bits, bits - 1
    made.PixelRepresentation = 0
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    raw = pixels.tobytes()
    made.PixelData = raw + tail + b"\0" * ((len(raw) + len(tail)) % 2)
    made["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def twelve_bits(knee: Grey) -> Words:
    """As a detector of 12 bits delivers it, nowhere black or white."""
    return (knee.astype(np.uint16) * 12) + 300


def resized(knee: Grey, width: float, height: float) -> Grey:
    rows, columns = knee.shape
    size = (round(columns * width), round(rows * height))
    return np.asarray(Image.fromarray(knee).resize(size, Image.Resampling.LANCZOS))


def collected(knee: Grey, height: float) -> Grey:
    """As higher pixels collect the rays: the mean of the rows that each covers, parts of them too.

    Pillow's box takes whole rows only, now two and now three of them.
    """
    rows = round(knee.shape[0] * height)
    ends = np.linspace(0, knee.shape[0], rows + 1)
    above = np.pad(knee.cumsum(axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    whole = np.minimum(ends.astype(np.intp), knee.shape[0] - 1)
    covered = above[whole] + (ends - whole)[:, None] * knee[whole]
    return np.rint(np.diff(covered, axis=0) * (rows / knee.shape[0])).astype(np.uint8)


def spaced(knee: Grey, made: Grey, keyword: str) -> bytes:
    """Under a header that says how large its pixels became: one of 0.2 mm was as wide as high."""
    (rows, columns), (height, width) = knee.shape, made.shape
    spacing = [f"{0.2 * rows / height:.6g}", f"{0.2 * columns / width:.6g}"]
    return dicom(made, 8, **{keyword: spacing})


def labelled(knee: Grey, size: int) -> Words:
    """Words burned in at the upper left, brighter than the detector's brightest value."""
    picture = Image.new("L", knee.shape[::-1])
    text = ImageDraw.Draw(picture)
    text.text((8, 6), "R PA 12:04", 255, ImageFont.load_default(size))
    share = np.asarray(picture) / 255
    return np.rint(twelve_bits(knee) * (1 - share) + WHITE * share).astype(np.uint16)


def hot(knee: Grey, count: int = 1) -> Words:
    words = twelve_bits(knee)
    rng = np.random.default_rng(count)
    words.flat[rng.choice(words.size, count, replace=False)] = WHITE
    return words


def framed(knee: Grey, value: int, part: float = 0.12) -> Grey:
    return np.pad(knee, round(part * knee.shape[0]), constant_values=value)


def collimated(knee: Grey, part: float = 0.06) -> Grey:
    """Black where lead kept the beam away: within the picture, its size unchanged."""
    cut = round(part * knee.shape[0])
    seen = np.zeros_like(knee)
    seen[cut:-cut, cut:-cut] = knee[cut:-cut, cut:-cut]
    return seen


def padded(knee: Grey, **elements: Any) -> bytes:
    """Beside padding of a value that no tissue has."""
    words = np.pad(twelve_bits(knee), ((20, 20), (60, 60)), constant_values=WHITE)
    return dicom(words, 16, PixelPaddingValue=WHITE, **elements)


def toned(knee: Grey, gamma: float) -> Grey:
    return np.rint(255 * (knee / 255) ** gamma).astype(np.uint8)


def rough(knee: Grey) -> Words:
    """Each value off by up to half a step of 8 bits, as no one can see: what rounding does."""
    off = np.random.default_rng(int(knee.sum())).integers(-6, 7, knee.shape)
    return np.asarray(twelve_bits(knee) + off, dtype=np.uint16)


def contrasted(knee: Grey, factor: float) -> Grey:
    middle = float(np.median(knee))
    return np.clip(np.rint((knee - middle) * factor + middle), 0, 255).astype(np.uint8)


def deep(knee: Grey, bits: int) -> Words:
    return np.rint(knee * ((2**bits - 1) / 255)).astype(np.uint16)


def short_table(knee: Grey) -> bytes:
    """A VOI LUT that says 16 bits and holds 12, beside a window that shows the knee."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 16])
    item.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    return dicom(twelve_bits(knee), 12, VOILUTSequence=[item], **WINDOW)


WINDOW = {"WindowCenter": "1830", "WindowWidth": "3060"}
BYTES, WORDS, SHOWN, WIDE = (
    "8 bits, DICOM",
    "12 bits, DICOM",
    "12 bits with a window",
    "12 bits, PNG",
)
REFERENCES: dict[str, Callable[[Grey], bytes]] = {
    "unchanged": png,
    BYTES: lambda k: dicom(k, 8),
    WORDS: lambda k: dicom(twelve_bits(k), 12),
    SHOWN: lambda k: dicom(twelve_bits(k), 12, **WINDOW),
    WIDE: lambda k: png(twelve_bits(k)),
}
"""The same knee in files without any fault, which the variants are compared with."""
VARIANTS: dict[str, tuple[str, Callable[[Grey], bytes]]] = {
    "rows half as many by Lanczos, PixelSpacing": (
        BYTES,
        lambda k: spaced(k, resized(k, 1, 0.5), "PixelSpacing"),
    ),
    "rows half as many by averages, PixelSpacing": (
        BYTES,
        lambda k: spaced(k, collected(k, 0.5), "PixelSpacing"),
    ),
    "columns 3/2 as many, ImagerPixelSpacing": (
        BYTES,
        lambda k: spaced(k, resized(k, 1.5, 1), "ImagerPixelSpacing"),
    ),
    "rows 5/4 as many, PixelAspectRatio": (
        BYTES,
        lambda k: dicom(resized(k, 1, 1.25), 8, PixelAspectRatio=["4", "5"]),
    ),
    "columns 2/3 as many, ImagerPixelSpacing": (
        BYTES,
        lambda k: spaced(k, resized(k, 2 / 3, 1), "ImagerPixelSpacing"),
    ),
    "rows 4/5 as many, PixelAspectRatio": (
        BYTES,
        lambda k: dicom(resized(k, 1, 0.8), 8, PixelAspectRatio=["5", "4"]),
    ),
    "rows and columns half as many by Lanczos": (
        BYTES,
        lambda k: spaced(k, resized(k, 0.5, 0.5), "PixelSpacing"),
    ),
    "off by up to half a grey value of 256": (WORDS, lambda k: dicom(rough(k), 12)),
    "one hot pixel, DICOM": (WORDS, lambda k: dicom(hot(k), 16)),
    "30 hot pixels, DICOM": (WORDS, lambda k: dicom(hot(k, 30), 16)),
    "one hot pixel, PNG": (WIDE, lambda k: png(hot(k))),
    "small label at 65535, DICOM": (WORDS, lambda k: dicom(labelled(k, 16), 16)),
    "small label at 65535, PNG": (WIDE, lambda k: png(labelled(k, 16))),
    "label at 65535 over the femur, DICOM": (WORDS, lambda k: dicom(labelled(k, 34), 16)),
    "label at 65535 over the femur, PNG": (WIDE, lambda k: png(labelled(k, 34))),
    "bytes behind the pixels": (BYTES, lambda k: dicom(k, 8, tail=bytes(126))),
    "Pixel Padding Value around it": (WORDS, padded),
    "black border of 12 %": ("unchanged", lambda k: png(framed(k, 0))),
    "white border of 12 %": ("unchanged", lambda k: png(framed(k, 255))),
    "white border of 3 %": ("unchanged", lambda k: png(framed(k, 255, 0.03))),
    "VOI LUT says 16 bits, holds 12": (SHOWN, short_table),
    "collimated by 6 %": ("unchanged", lambda k: png(collimated(k))),
    **{
        f"gamma {gamma:g}": ("unchanged", lambda k, g=gamma: png(toned(k, g)))  # type: ignore[misc]
        for gamma in (0.5, 0.7, 1.4, 2.0)
    },
    **{
        f"contrast {share:g}": ("unchanged", lambda k, c=share: png(contrasted(k, c)))  # type: ignore[misc]
        for share in (0.4, 0.7, 1.5, 2.5)
    },
    **{
        f"tones of {depth} bits": ("unchanged", lambda k, b=depth: png(deep(k, b)))  # type: ignore[misc]
        for depth in (10, 12, 14, 16)
    },
}


def answer(ensemble: Ensemble, data: bytes, side: Side) -> str:
    """The grade and its certainty, or why there is none."""
    try:
        readings = ensemble.read(data, side)
    except KellgrenError as error:
        return error.problem
    if len(readings) != 1:
        return f"not one knee but {len(readings)}"
    return f"{int(readings[0].grade)} {readings[0].certainty}"


def interval(good: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, good / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return middle - half, middle + half


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--knees", type=int, default=300)
    words.add_argument("--only", default="", help="variants whose names contain one of these words")
    words.add_argument("--share", default="0/1", help="which of how many shares of the knees")
    words.add_argument("--csv", type=Path, nargs="+", default=[Path("shape_and_tone.csv")])
    given = words.parse_args()
    wanted = [word for word in given.only.split(",") if word]
    variants = {
        name: variant
        for name, variant in VARIANTS.items()
        if not wanted or any(word in name for word in wanted)
    }
    needed = {reference for reference, _ in variants.values()} if wanted else set(REFERENCES)
    references = {name: make for name, make in REFERENCES.items() if name in needed}
    knees = for_training(index(given.data), given.data)
    drawn = np.random.default_rng(15).choice(len(knees), given.knees, replace=False)
    first, step = map(int, given.share.split("/"))
    done = {row["knee"] for path in given.csv for row in answered(path)}
    waiting = [knees[place] for place in drawn[first::step]]
    waiting = [knee for knee in waiting if knee.image.name not in done]
    is_new = not answered(given.csv[0])
    with given.csv[0].open("a", newline="") as stream:
        table = csv.DictWriter(stream, ("knee", *references, *variants))
        if is_new:
            table.writeheader()
        for row in answers(waiting, references | {n: make for n, (_, make) in variants.items()}):
            table.writerow(row)
            stream.flush()
    rows = [row for path in given.csv for row in answered(path)]
    for name in references if "unchanged" in references else ():
        report(f"{name}, against unchanged", together(rows, "unchanged", name))
    for name, (reference, _) in variants.items():
        report(name, together(rows, reference, name))


def together(rows: list[dict[str, str]], one: str, other: str) -> list[tuple[str, str]]:
    """Both answers of the knees that have both."""
    return [(row[one], row[other]) for row in rows if row.get(one) and row.get(other)]


def answered(path: Path) -> list[dict[str, str]]:
    """What an earlier, interrupted run has answered."""
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def answers(
    knees: list[Knee], made: dict[str, Callable[[Grey], bytes]]
) -> Iterator[dict[str, str]]:
    """Each knee's answers by file; crops that come out equal to 16 bits are graded once."""
    ensemble = Ensemble.default(threads=1, pair=False, joint_space=False)
    examine, known = ensemble.panel.examine, dict[bytes, PanelOutput]()

    def remembered(crop: KneeCrop) -> PanelOutput:
        grey = np.rint(crop.pixels * WHITE).astype(np.uint16)
        key = crop.side.value.encode() + str(grey.shape).encode() + grey.tobytes()
        if key not in known:
            known[key] = examine(crop)
        return known[key]

    ensemble.panel.examine = remembered  # type: ignore[method-assign]
    for knee in knees:
        known.clear()
        with Image.open(knee.image) as picture:
            pixels = np.asarray(picture.convert("L"))
        row = {name: answer(ensemble, make(pixels), knee.side) for name, make in made.items()}
        yield {"knee": knee.image.name, **row}


def report(name: str, pairs: list[tuple[str, str]]) -> None:
    """The share of grades kept with its interval, what became of the others, how sure they were."""
    answered_both = [(one.split(), other) for one, other in pairs if is_graded(one)]
    changed = [(*one, other) for one, other in answered_both if one[0] != other.split()[0]]
    kept, tried = len(answered_both) - len(changed), len(answered_both)
    if not tried:
        print(f"{name:<42} no knee yet")
        return
    refused = Counter(other[:60] for *_, other in changed if not is_graded(other))
    far = sum(is_graded(other) and abs(int(one) - int(other[0])) > 1 for one, _, other in changed)
    low, high = interval(kept, tried)
    print(
        f"{name:<42} {kept:>4} of {tried:<4} {kept / tried:6.1%} "
        f"({low:.1%} to {high:.1%}), {far} by two grades or more, {sum(refused.values())} refused; "
        f"changed had been {dict(Counter(sure for _, sure, _ in changed))}"
    )
    for reason, count in refused.most_common(3):
        print(f"{'':<42} {count:>4} refused: {reason}")


def is_graded(text: str) -> bool:
    """Whether an answer is a grade with its certainty."""
    return text[0].isdigit()


if __name__ == "__main__":
    main()
