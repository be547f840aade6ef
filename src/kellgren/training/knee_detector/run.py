"""Train the network that finds knees: films are drawn as they are needed, none is seen twice."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee
from kellgren.errors import InvalidManifest
from kellgren.grades import Side
from kellgren.imaging.radiograph import read_radiograph
from kellgren.knee import Region
from kellgren.training.knee_detector.film_maker import BoxedFrame, FilmMaker, frame_film
from kellgren.training.knee_detector.network import LocaliserNetwork, loss, targets
from kellgren.training.knee_detector.synthetic_films import Film, expose

SIZE = 192
"""Height and width of what the network sees, in pixels."""
CROP = 144
"""Height and width at which crops are kept in memory: finer than they are ever laid."""
WEIGHTS = "localiser.safetensors"
_BATCH = 16
_KEEP_EVERY = 100
_FROM_FRAMES = 0.4
Tell = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class LocaliserRun:
    """What to learn from, and for how long.

    Attributes:
        knees: cropped as published, of known side; none that is to be judged later.
        frames: real films with boxes; with some, 40 % of the films are theirs.
        steps: of 16 films each.
        rate: highest learning rate; it rises over the first tenth and falls to nothing.
        seed: of the films and the first weights.
        start_from: weights of an earlier run.
    """

    knees: Sequence[Knee]
    frames: Sequence[BoxedFrame]
    steps: int
    rate: float
    seed: int = 42
    start_from: Path | None = None


def train_localiser(run: LocaliserRun, out: Path, tell: Tell) -> LocaliserNetwork:
    """Train, keeping the weights in ``out`` every hundred steps and at the end.

    Args:
        run: what and how long.
        out: folder.
        tell: called after each step with the parts of its loss.
    """
    torch.manual_seed(run.seed)
    rng = np.random.default_rng(run.seed)
    network = LocaliserNetwork()
    if run.start_from is not None:
        network.load_state_dict(load_file(run.start_from))
    network = network.to(memory_format=torch.channels_last).train()
    maker = FilmMaker(*load_crops(run.knees), SIZE)
    optimiser = torch.optim.AdamW(network.parameters(), lr=run.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, run.rate, total_steps=run.steps, pct_start=0.1
    )
    out.mkdir(parents=True, exist_ok=True)
    for step in range(1, run.steps + 1):
        films = [_draw(maker, run.frames, rng) for _ in range(_BATCH)]
        image = torch.stack([film.pixels for film in films])[:, None]
        output, _ = network(image.contiguous(memory_format=torch.channels_last))
        parts = loss(output, *targets(films, SIZE))
        total: Tensor = torch.stack(list(parts.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        tell(step, {name: float(part.detach()) for name, part in parts.items()})
        if step % _KEEP_EVERY == 0 or step == run.steps:
            with replaced_whole(out / WEIGHTS) as draft:
                save_file({k: v.contiguous() for k, v in network.state_dict().items()}, draft)
    return network.eval()


def _draw(maker: FilmMaker, frames: Sequence[BoxedFrame], rng: np.random.Generator) -> Film:
    if frames and rng.random() < _FROM_FRAMES:
        return expose(frame_film(frames[int(rng.integers(len(frames)))], SIZE, rng), rng)
    return maker.draw(rng)


def load_crops(
    knees: Sequence[Knee],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], list[tuple[int, int]]]:
    """Pixels, sides, and the positions of each patient's right and left knee."""
    with_side = [knee for knee in knees if knee.side is not Side.UNKNOWN]
    pixels = np.empty((len(with_side), CROP, CROP), dtype=np.uint8)
    for place, knee in enumerate(with_side):
        picture = Image.fromarray(read_radiograph(knee.image).pixels)
        small = np.asarray(picture.resize((CROP, CROP), Image.Resampling.BICUBIC))
        pixels[place] = np.rint(small.clip(0, 1) * 255)
    is_left = np.array([knee.side is Side.LEFT for knee in with_side])
    right = {knee.patient: n for n, knee in enumerate(with_side) if knee.side is Side.RIGHT}
    pairs = [
        (right[knee.patient], n)
        for n, knee in enumerate(with_side)
        if knee.side is Side.LEFT and knee.patient in right
    ]
    return pixels, is_left, pairs


BOX_COLUMNS = ("file", "knee", "part", "centre_x", "centre_y", "width", "angle", "side")


def read_boxes(table: Path, part: str) -> dict[str, list[tuple[Region, bool | None]]]:
    """Boxes of real films drawn by eye.

    Args:
        table: CSV with the columns of `BOX_COLUMNS`, one row a knee.
        part: ``train`` or ``test``.

    Returns:
        For each file its knees, left ones marked ``True``; ``None`` where the side is not known.

    Raises:
        InvalidManifest: the table cannot be read so.
    """
    boxes: dict[str, list[tuple[Region, bool | None]]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row["part"] == part:
                    centre = (float(row["centre_x"]), float(row["centre_y"]))
                    region = Region(centre, float(row["width"]), float(row["angle"]))
                    side = {"L": True, "R": False}.get(row["side"])
                    boxes.setdefault(row["file"], []).append((region, side))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InvalidManifest(
            table,
            f"is no table of boxes ({type(error).__name__})",
            f"Its columns are {', '.join(BOX_COLUMNS)}",
        ) from None
    return boxes


def load_frames(folder: Path, table: Path, part: str = "train") -> list[BoxedFrame]:
    """Real films with their boxes.

    Raises:
        InvalidManifest: the table of boxes cannot be read.
        UnreadableRadiograph: a film cannot.
    """
    return [
        BoxedFrame(torch.from_numpy(read_radiograph(folder / name).pixels), tuple(knees))
        for name, knees in read_boxes(table, part).items()
    ]
