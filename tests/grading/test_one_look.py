"""A bundle whose card says that one look is enough takes one, unless the user asks for both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from kellgren import Ensemble
from kellgren.grading.bundle import Bundle, write_bundle
from kellgren.grading.card_parts.one_look import Difference, OneLook

KNEE = EXAMPLES / "9103968L.png"
NONE = Difference(value=0.0, low=-0.004, high=0.004)
FOUND = OneLook(knees=1322, patients=661, accuracy=NONE, qwk=NONE, log_loss=NONE)


@pytest.fixture(scope="module")
def of_one_look(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles")
    made = make_bundle(folder / "two")
    card = made.card.model_copy(update={"one_look": FOUND})
    files = {name: made.path(name) for name in card.files}
    return write_bundle(card, files, folder / "one")


def read(bundle: Bundle, *, mirror: bool | None = None) -> tuple[str, tuple[float, ...]]:
    reading = Ensemble.open(bundle.folder, mirror=mirror, joint_space=False).read(KNEE)[0]
    return reading.model["mirror"], reading.probabilities


def test_one_look_is_taken_and_stated(of_one_look: Bundle) -> None:
    by_itself, asked_for = read(of_one_look), read(of_one_look, mirror=False)
    assert by_itself == asked_for
    assert by_itself[0] == "off"


def test_both_are_taken_where_the_user_asks_for_them(of_one_look: Bundle) -> None:
    mirror, probabilities = read(of_one_look, mirror=True)
    assert mirror == "averaged"
    assert not np.allclose(probabilities, read(of_one_look)[1], atol=1e-6)


def test_two_looks_are_usual(tmp_path: Path) -> None:
    assert read(make_bundle(tmp_path / "usual"))[0] == "averaged"


def test_the_command_says_how_many(of_one_look: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert kellgren("bundle", "show", of_one_look.folder) == 0
    assert "log loss 0.000 (-0.004 to 0.004)" in " ".join(capsys.readouterr().out.split())
    assert kellgren("bundle", "show") == 0
    assert "looks" in capsys.readouterr().out
