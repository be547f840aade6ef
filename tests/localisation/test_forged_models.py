"""Knee detector, picture gate and index of similar knees: forged, with checksums that fit."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from kellgren.artefacts import file_checksum
from kellgren.errors import BundleError
from kellgren.explanation.similar import SimilarKnees
from kellgren.localisation.knee_detector import Localiser, default_localiser
from kellgren.localisation.picture_gate import PictureGate, default_folder

MODELS = default_localiser().parent
SIMILAR = json.loads((MODELS / "similar" / "similar.json").read_text())["knees"]


def changed(folder: Path, card: str, **fields: object) -> None:
    told: dict[str, Any] = json.loads((folder / card).read_text("utf-8"))
    files = {name: file_checksum(folder / name) for name in told["files"]}
    (folder / card).write_text(json.dumps({**told, "files": files, **fields}))


def arrays(path: Path, **others: np.ndarray) -> None:
    with np.load(path, allow_pickle=False) as stored:
        whole = dict(stored) | others
    stream = io.BytesIO()
    np.savez_compressed(stream, **whole)
    path.write_bytes(stream.getvalue())


def detector_loop(folder: Path) -> None:
    model = onnx.load(folder / "localiser.onnx")
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=body))
    onnx.save(model, folder / "localiser.onnx")


def another_network(folder: Path) -> None:
    shutil.copyfile(folder / "localiser.onnx", folder / "side.onnx")


def bomb(folder: Path) -> None:
    arrays(folder / "weights.npz", centre=np.zeros(2**25, dtype=np.float32))


def no_gate(folder: Path) -> None:
    shutil.copyfile(default_localiser() / "side.onnx", folder / "features.onnx")


def nothing(folder: Path) -> None:
    """The card alone is changed."""


OPENED = {"localiser": Localiser, "picture_gate": PictureGate, "similar": SimilarKnees.open}
CARDS = {"localiser": "card.json", "picture_gate": "card.json", "similar": "similar.json"}
NAN = float("nan")
FORGERIES: list[tuple[str, Callable[[Path], None], dict[str, object], str]] = [
    ("localiser", detector_loop, {}, r"localiser\.onnx: is not a network .*(Loop|inside a graph)"),
    ("localiser", another_network, {}, r"side\.onnx: is not a network"),
    ("localiser", nothing, {"size": 190}, "damaged at size"),
    ("localiser", nothing, {"size": 96}, r"localiser\.onnx: is not a network"),
    ("localiser", nothing, {"least_confidence": NAN}, "damaged at least_confidence"),
    ("localiser", nothing, {"feature_mean": [0.0] * 3}, "the whitener is not of 3 rows"),
    ("picture_gate", bomb, {}, r"weights\.npz: is damaged \(its arrays take 13"),
    ("picture_gate", no_gate, {}, r"features\.onnx: is not a network"),
    ("picture_gate", nothing, {"size": 10**9}, "damaged at size"),
    ("picture_gate", nothing, {"corrected_confidence": NAN}, "damaged at corrected_confidence"),
    (
        "picture_gate",
        lambda folder: arrays(folder / "weights.npz", usual=np.zeros(3)),
        {},
        r"its array usual has the shape \(3,\), not \(2,\)",
    ),
    (
        "picture_gate",
        lambda folder: arrays(folder / "weights.npz", usual=np.array([1, np.inf])),
        {},
        "its array usual is not of finite numbers",
    ),
    (
        "similar",
        lambda folder: arrays(folder / "codes.npz", sizes=np.zeros(SIMILAR, dtype=np.uint32)),
        {},
        "its pictures do not have the sizes that it states",
    ),
    (
        "similar",
        lambda folder: arrays(folder / "codes.npz", grades=np.full(SIMILAR, 9, dtype=np.uint8)),
        {},
        "its grades are none",
    ),
    (
        "similar",
        lambda folder: arrays(folder / "codes.npz", centre=np.zeros(2**18)),
        {},
        r"its array axes has the shape",
    ),
]


@pytest.mark.parametrize(("kind", "forge", "fields", "words"), FORGERIES)
def test_what_does_not_belong_together_is_named(
    kind: str,
    forge: Callable[[Path], None],
    fields: dict[str, object],
    words: str,
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(MODELS / kind, tmp_path / kind))
    changed(folder, CARDS[kind])
    forge(folder)
    changed(folder, CARDS[kind], **fields)
    with pytest.raises(BundleError, match=words) as refusal:
        OPENED[kind](folder)
    assert "nstall the package again." in refusal.value.remedy


@pytest.mark.parametrize("kind", OPENED)
def test_the_packages_own_pass_the_trial_that_opening_them_leaves_out(
    kind: str, tmp_path: Path
) -> None:
    assert (default_localiser(), default_folder()) == (
        MODELS / "localiser",
        MODELS / "picture_gate",
    )
    OPENED[kind](Path(shutil.copytree(MODELS / kind, tmp_path / kind)))
