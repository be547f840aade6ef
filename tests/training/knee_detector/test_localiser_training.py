"""The films the localiser learns from, and the way from there to the files that ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from exposures import Exposure, ExposureSimulator, exposure_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from command_line import EXAMPLES
from kellgren.data.manifest import Knee
from kellgren.errors import BundleError, InvalidManifest
from kellgren.grades import Grade, Side
from kellgren.knee import Region
from kellgren.localisation.crop import cut
from kellgren.localisation.knee_detector import CARD, SIDE_NETWORK, Localiser
from kellgren.training.knee_detector.export import export_networks, write_card
from kellgren.training.knee_detector.film_maker import BoxedFrame, FilmMaker, frame_film
from kellgren.training.knee_detector.network import OUTPUTS, LocaliserNetwork, loss, targets
from kellgren.training.knee_detector.run import (
    LocaliserRun,
    load_crops,
    load_frames,
    read_boxes,
    train_localiser,
)
from kellgren.training.knee_detector.side import SideNetwork
from kellgren.training.knee_detector.synthetic_films import Film, PlacedKnee, add_marks

KNEES = [
    Knee(path, path.stem[:-1], Side(path.stem[-1]), Grade.NONE, "val", "examples")
    for path in sorted(EXAMPLES.glob("*.png"))
]


@pytest.fixture(scope="module")
def natural() -> FilmMaker:
    return FilmMaker(*load_crops(KNEES), 256, natural=True)


def test_a_laid_knee_lies_where_the_film_says(natural: FilmMaker) -> None:
    crops, is_left, _ = load_crops(KNEES)
    for seed in range(12):
        film = natural.lay_film(np.random.default_rng(seed))
        for knee in film.knees:
            seen = cut(film.pixels.numpy(), knee.region, 64)
            laid = np.asarray(Image.fromarray(crops[knee.crop]).resize((64, 64))) / 255
            likeness = np.corrcoef(seen[8:-8, 8:-8].ravel(), laid[8:-8, 8:-8].ravel())[0, 1]
            assert likeness > 0.9
            assert knee.is_left == is_left[knee.crop]


def test_right_knees_stand_on_the_left_of_a_natural_film(natural: FilmMaker) -> None:
    for seed in range(20):
        film = natural.lay_film(np.random.default_rng(seed))
        assert [knee.is_left for knee in film.knees] in ([False], [True], [False, True])


def test_a_film_as_detectors_deliver_it_holds_all_that_its_crop_showed() -> None:
    pixels = np.stack([np.asarray(Image.open(knee.image).convert("L")) for knee in KNEES])
    _, is_left, pairs = load_crops(KNEES)
    lost = {}
    for detector in (False, True):
        maker = FilmMaker(pixels, is_left, pairs, 1000, natural=True, detector=detector)
        film = maker.lay_film(np.random.default_rng(6))
        region = film.knees[0].region
        assert region.width > 0.23 * 1000 * 0.45
        seen = Image.fromarray(cut(film.pixels.numpy(), region, round(region.width)))
        again = np.asarray(seen.resize((299, 299), Image.Resampling.BICUBIC))
        off = again - pixels[film.knees[0].crop] / 255
        lost[detector] = float(np.sqrt((off[8:-8, 8:-8] ** 2).mean()))
    assert lost[True] < 0.005  # 1.3 of 255 grey steps
    assert lost[True] < 0.9 * lost[False]


@settings(deadline=None, max_examples=25)
@given(st.floats(0.001, 0.05), st.floats(-0.002, 0.002), st.integers(0, 999))
def test_noise_is_measured_on_top_of_shading(noise: float, slope: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shaded = 0.5 + slope * np.arange(128)[:, None] + rng.normal(0, noise, (128, 128))
    assert exposure_of(shaded.astype(np.float32)).noise == pytest.approx(noise, rel=0.15)


def test_a_film_takes_the_contrast_of_the_knee_it_is_exposed_like(natural: FilmMaker) -> None:
    crops, _, _ = load_crops(KNEES)
    like = Exposure(0.3, 0.5, 0.6, 0.01, 299)
    room, actual = ExposureSimulator([[like]]), []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        laid = natural.lay_film(rng)
        own = exposure_of(crops[laid.knees[0].crop].astype(np.float32) / 255)
        film = room.expose(laid, own, rng)
        bright = 1 - film.pixels if film.inverted else film.pixels
        actual.append(exposure_of(cut(bright.numpy(), laid.knees[0].region, 96)))
    # the beam may be uneven and the film's edge may cut the knee, on most films neither does
    assert np.median([e.dark for e in actual]) == pytest.approx(like.dark, abs=0.05)
    assert np.median([e.bright for e in actual]) == pytest.approx(like.bright, abs=0.05)


def test_letters_and_collimation_keep_clear_of_a_knee() -> None:
    region = Region((100.0, 90.0), 80.0, 20.0)
    grey = torch.full((200, 200), 0.5)
    film = Film(grey, (0, 0, 200, 200), [PlacedKnee(region, True)])
    marked = 0
    for seed in range(60):
        drawn = add_marks(film, grey, np.random.default_rng(seed), spared=[region]).pixels
        assert np.ptp(cut(drawn.numpy(), region, 60)) < 1e-5
        marked += bool((drawn != 0.5).any())
    assert marked > 20


def test_films_are_drawn_again_from_the_same_seed() -> None:
    maker = FilmMaker(*load_crops(KNEES), 96)
    one, other = (maker.draw(np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one.pixels, other.pixels)
    assert one.knees == other.knees


def test_a_frame_carries_its_boxes_along() -> None:
    dot = torch.zeros(60, 100)
    dot[28:32, 68:72] = 1
    frame = BoxedFrame(dot, ((Region((70.0, 30.0), 40.0), True),))
    for seed in range(20):
        film = frame_film(frame, 128, np.random.default_rng(seed))
        for knee in film.knees:
            x, y = (round(c) for c in knee.region.centre)
            assert film.pixels[y - 4 : y + 5, x - 4 : x + 5].max() > 0.3


def test_what_the_map_should_say_costs_nothing() -> None:
    region = Region((60.0, 52.0), 50.0, 90.0)
    film = Film(torch.zeros(96, 96), (0, 0, 96, 96), [PlacedKnee(region, True)], inverted=True)
    value, weight = targets([film], 96)
    perfect = value.clone()
    perfect[:, 0] = torch.logit(value[:, 0].clamp(1e-4, 1 - 1e-4))
    perfect[:, 6] = 20 * (2 * value[:, 6] - 1)
    row, column = np.unravel_index(int(value[0, 0].argmax()), (12, 12))

    assert (row, column) == (6, 7)
    assert value[0, OUTPUTS.index("sin"), row, column] == 1
    for name, part in loss(perfect, value, weight).items():
        assert float(part) < (0.2 if name == "joint" else 1e-3), name


def test_the_side_network_sees_a_mirrored_knee_as_the_other_side() -> None:
    knees = torch.rand(3, 1, 96, 96)
    network = SideNetwork().eval()
    with torch.no_grad():
        assert torch.allclose(network(knees), -network(knees.flip(3)), atol=1e-6)


def test_from_training_to_a_localiser_that_is_checked(tmp_path: Path) -> None:
    parts: list[dict[str, float]] = []
    run = LocaliserRun(KNEES, (), steps=2, rate=1e-3)
    network = train_localiser(run, tmp_path, lambda step, part: parts.append(part))
    assert len(parts) == 2
    assert all(np.isfinite(list(part.values())).all() for part in parts)

    export_networks(network, 192, SideNetwork().eval(), 96, tmp_path)
    write_card(tmp_path, 192, 96, {"steps": 2})
    again = LocaliserNetwork().eval()
    assert len(again.state_dict()) == len(network.state_dict())
    assert isinstance(Localiser(tmp_path).find(np.zeros((200, 300), np.float32)), list)

    (tmp_path / SIDE_NETWORK).write_bytes((tmp_path / SIDE_NETWORK).read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="checksum"):
        Localiser(tmp_path)
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(BundleError, match="damaged"):
        Localiser(tmp_path)


def test_boxes_come_with_their_part(tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text(
        "file,knee,part,centre_x,centre_y,width,angle,side\n"
        "9177337L.png,1,train,150,150,290,0,L\nother.png,1,test,1,2,3,0,\n"
    )
    (frame,) = load_frames(EXAMPLES, table)
    assert frame.knees == ((Region((150.0, 150.0), 290.0, 0.0), True),)
    assert read_boxes(table, "test") == {"other.png": [(Region((1.0, 2.0), 3.0, 0.0), None)]}
    table.write_text("file\nx\n")
    with pytest.raises(InvalidManifest, match="boxes"):
        read_boxes(table, "train")
