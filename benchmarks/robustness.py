"""Whether certainty falls before accuracy does, when a knee's picture gets worse.

    python benchmarks/robustness.py --data kneeKL299 --model DEFAULT-OF-FOLD-0 [--knees 150]
        [--csv robustness.csv]

Knees of fold 0, from which no network of that bundle learnt (the default one's, but those of fold 0
throughout), are graded as published and again with another tone, noise, blur, in other shapes and
as JPEG of low quality. A picture that a check refuses is graded all the same, so that certainty and
accuracy are told of all. Of each variant: the share refused, the share of grades kept, accuracy,
the share whose fine detail lies beyond the card's range (which lowers the word for certainty and
widens the set), the mean probability of the most probable grade, the share of high certainty and
how often that is right, the mean number of grades in the 90 % set, how often it holds the label,
and the share whose grade is not named by set or probability (how far the members disagree is not
kept). Then the change of each since the picture as published, on the same knees, with 95 %
intervals over knees.
``--csv`` keeps
each answer, and goes on with what is not in it yet; ``--report`` prints what is there and grades
nothing.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from shape_and_tone import Grey, contrasted, dicom, interval, png, resized, toned

from kellgren import Ensemble, Side
from kellgren.arrays import Float64Array as Figures
from kellgren.data.manifest import Knee, for_training, index
from kellgren.data.splits import make_folds
from kellgren.errors import KellgrenError
from kellgren.grading.bundle import default_bundle, open_bundle
from kellgren.grading.card import Card
from kellgren.grading.judgement import Judge
from kellgren.imaging.integrity.fine_detail import fine_detail

COLUMNS = (
    *("knee", "variant", "grade", *(f"p{grade}" for grade in range(5))),
    *("label", "refused", "detail"),
)


def noisy(knee: Grey, deviation: float) -> Grey:
    grain = np.random.default_rng(int(knee.sum())).normal(0.0, deviation, knee.shape)
    return np.clip(np.rint(knee + grain), 0, 255).astype(np.uint8)


def blurred(knee: Grey, radius: float) -> Grey:
    return np.asarray(Image.fromarray(knee).filter(ImageFilter.GaussianBlur(radius)))


def jpeg(knee: Grey, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(knee).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def flat(knee: Grey, share: float) -> bytes:
    """Rows fewer than columns, with the spacing that says so."""
    spacing = [f"{0.2 / share:.6g}", "0.2"]
    return dicom(resized(knee, 1, share), 8, PixelSpacing=spacing)


VARIANTS: dict[str, Callable[[Grey], bytes]] = {
    "as published": png,
    "gamma 0.7": lambda k: png(toned(k, 0.7)),
    "gamma 1.4": lambda k: png(toned(k, 1.4)),
    "contrast 0.6": lambda k: png(contrasted(k, 0.6)),
    "contrast 1.6": lambda k: png(contrasted(k, 1.6)),
    "noise 3": lambda k: png(noisy(k, 3)),
    "noise 6": lambda k: png(noisy(k, 6)),
    "noise 12": lambda k: png(noisy(k, 12)),
    "blur 1": lambda k: png(blurred(k, 1)),
    "blur 2": lambda k: png(blurred(k, 2)),
    "rows 3/4, with spacing": lambda k: flat(k, 0.75),
    "JPEG quality 90": lambda k: jpeg(k, 90),
    "JPEG quality 50": lambda k: jpeg(k, 50),
    "JPEG quality 20": lambda k: jpeg(k, 20),
}


def held_out(data: Path, count: int) -> list[Knee]:
    knees = for_training(index(data), data)
    mask = make_folds(knees).held_out(knees, 0)
    mine = [knee for knee, held in zip(knees, mask, strict=True) if held]
    drawn = np.random.default_rng(18).choice(len(mine), min(count, len(mine)), replace=False)
    return [mine[place] for place in drawn]


def answer(ensemble: Ensemble, data: bytes, side: Side) -> dict[str, object]:
    try:
        readings = ensemble.read(data, side, force=True)
    except KellgrenError as error:
        return {"refused": error.problem}
    if len(readings) != 1:
        return {"refused": f"{len(readings)} knees"}
    refused = [check.name for check in readings[0].checks if check.verdict == "refused"]
    shares = {f"p{g}": f"{p:.6f}" for g, p in enumerate(readings[0].probabilities)}
    detail = f"{fine_detail(readings[0].crop.pixels):.5f}"
    grade = int(readings[0].grade)
    return {"grade": grade, **shares, "refused": " ".join(refused), "detail": detail}


def grade_all(knees: list[Knee], model: Path, table: Path) -> list[dict[str, str]]:
    done = answered(table)
    known = {(row["knee"], row["variant"]) for row in done}
    ensemble = Ensemble.open(model, threads=1, pair=False, joint_space=False)
    with table.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if not done:
            writer.writeheader()
        for knee in knees:
            pixels = np.asarray(Image.open(knee.image).convert("L"))
            for name, made in VARIANTS.items():
                if (knee.image.name, name) not in known:
                    told = answer(ensemble, made(pixels), knee.side)
                    told |= {"knee": knee.image.name, "variant": name, "label": knee.grade}
                    writer.writerow(told)
            stream.flush()
    return answered(table)


def answered(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def figures(rows: Sequence[dict[str, str]], card: Card) -> Figures:
    """``(N, 7)`` of each knee: right, largest probability, high certainty, set size, not named,
    whether its fine detail lies beyond the card's range, whether the set holds the label.
    """
    assert card.detail is not None
    told = []
    judge = Judge(card)
    for row in rows:
        shares = np.array([float(row[f"p{grade}"]) for grade in range(5)])
        beyond = bool(card.detail.beyond(float(row["detail"])))
        judged = judge.of(shares, None, beyond=beyond)
        low, high = int(judged.grade_set.lowest), int(judged.grade_set.highest)
        right = row["grade"] == row["label"]
        sure, named = judged.certainty == "high", judged.named
        holds = low <= int(row["label"]) <= high
        told.append([right, shares.max(), sure, high - low + 1, not named, beyond, holds])
    return np.array(told, dtype=np.float64)


def report(rows: list[dict[str, str]], card: Card) -> None:
    """One line a variant, and what it changes; intervals of shares kept are Wilson's, 95 %."""
    plain = {row["knee"]: row for row in rows if row["variant"] == "as published" and row["grade"]}
    print(
        "| variant | knees | refused | kept | accuracy | beyond | mean p | high | right of high ",
        end="",
    )
    print("| set | holds | not named |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
    changes = []
    for name in VARIANTS:
        mine = [row for row in rows if row["variant"] == name and row["knee"] in plain]
        graded = [row for row in mine if row["grade"]]
        if not graded:
            continue
        refused = sum(bool(row["refused"]) for row in mine) / len(mine)
        kept = sum(row["grade"] == plain[row["knee"]]["grade"] for row in mine)
        low, high = interval(kept, len(mine))
        told = figures(graded, card)
        right, top, sure, size, doubted, beyond, holds = told.mean(axis=0)
        of_sure = f"{told[told[:, 2] > 0, 0].mean():.2f}" if sure else "-"
        print(
            f"| {name} | {len(mine)} | {refused:.2f} "
            f"| {kept / len(mine):.3f} ({low:.3f} to {high:.3f}) | {right:.3f} "
            f"| {beyond:.2f} | {top:.3f} | {sure:.2f} | {of_sure} | {size:.2f} | {holds:.3f} "
            f"| {doubted:.2f} |"
        )
        if name != "as published":
            before = figures([plain[row["knee"]] for row in graded], card)
            changes.append(f"| {name} | {' | '.join(changed((told - before)[:, :5]))} |")
    print("\n| variant | accuracy | mean p | high | set | not named |\n|---|---|---|---|---|---|")
    print("\n".join(changes))


def changed(differences: Figures) -> list[str]:
    """The mean of each column, with its 95 % interval over knees."""
    count = len(differences)
    drawn = np.random.default_rng(42).integers(0, count, (2000, count))
    ends = np.quantile(differences[drawn].mean(axis=1), (0.025, 0.975), axis=0)
    told = zip(differences.mean(axis=0), *ends, strict=True)
    return [f"{mean:+.3f} ({low:+.3f} to {high:+.3f})" for mean, low, high in told]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--knees", type=int, default=150)
    words.add_argument("--model", type=Path, default=default_bundle())
    words.add_argument("--csv", type=Path, default=Path("robustness.csv"))
    words.add_argument("--report", action="store_true", help="of what --csv has; grade nothing")
    given = words.parse_args()
    if given.report:
        rows = answered(given.csv)
    else:
        rows = grade_all(held_out(given.data, given.knees), given.model, given.csv)
    report(rows, open_bundle(given.model).card)


if __name__ == "__main__":
    main()
