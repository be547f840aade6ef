"""Nothing is sent anywhere: no command leaves a file at home or talks beyond this machine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from watched import Watch, strace, watch

import pacs_network
import web_room
from bundle_factory import make_bundle
from command_line import EXAMPLES, command, environment, finished
from kellgren.data.manifest import Knee, write_manifest
from kellgren.data.splits import save_folds
from pacs_network import AnswerPeer, Listening, eventually, free_port, send, write_films
from tiny_training import FOLDS
from web_room import hand_in, reading_room

KNEE = EXAMPLES / "9177337L.png"
RECIPE = """
name = "smallest"
batch = 3
precision = "fp32"
average = 0.9
stages = [{ epochs = 1, size = 64 }]
network = { architecture = "shufflenet_v2_x2_0", pretrained = false }
schedule = { name = "one-cycle", peak_rate = 1e-3 }
targets = { kind = "ordinal" }
augmentation = { mirror = 0.5 }
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny").folder


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return watch(tmp_path, monkeypatch)


def traced(watched: Watch, *arguments: Path | str) -> list[str]:
    """The words of a command, under strace where that is: native code opens sockets too."""
    tracing = strace()
    return [*tracing, *(["-o", str(watched.system_calls)] if tracing else []), *command(*arguments)]


def run(watched: Watch, *arguments: Path | str) -> None:
    done = finished(traced(watched, *arguments), environment(OMP_NUM_THREADS="1"))
    assert done.returncode == 0, done.stderr


def assert_kept_to_itself(watched: Watch) -> None:
    assert watched.files() == []
    assert watched.sent() == []


def test_the_watch_sees_what_is_left_and_what_is_sent(watched: Watch) -> None:
    script = (
        "import socket; from pathlib import Path; (Path.home() / 'left').touch()\n"
        "s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))\n"
        "s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9))"
    )
    words = traced(watched)
    done = finished([*words[: words.index("kellgren") - 1], "-c", script])
    assert done.returncode == 0, done.stderr
    assert watched.files() == [str(watched.home / "left")]
    assert watched.sent()
    assert all("192.0.2.1" in line for line in watched.sent())


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_grade(watched: Watch, model: Path, tmp_path: Path, engine: str) -> None:
    if find_spec(engine) is None:  # importing it here would leave its files in the home
        pytest.skip(f"{engine} is not installed")
    out = tmp_path / "out"
    run(
        watched,
        *("grade", KNEE, "--model", model, "--engine", engine, "--csv", out / "g.csv"),
        *("--overlay", out / "pictures"),
    )
    assert (out / "g.csv").is_file()
    assert_kept_to_itself(watched)


def test_evaluate(watched: Watch, model: Path, tmp_path: Path) -> None:
    if find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    (tmp_path / "g.csv").write_text("image,grade\n9177337L.png,3\n9177337R.png,3\n")
    labels = tmp_path / "labels.csv"
    labels.write_text(f"image,grade\n{KNEE},3\n{KNEE.with_name('9177337R.png')},4\n")
    run(
        watched,
        *("evaluate", tmp_path / "g.csv", "--labels", labels, "--html", tmp_path / "report.html"),
        *("--model", model, "--map-knees", "0", "--resamples", "100"),
    )
    assert (tmp_path / "report.html").is_file()
    assert_kept_to_itself(watched)


def test_serve(
    watched: Watch, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_room, "command", lambda *words: traced(watched, *words))
    with reading_room(tmp_path / "store", model, "--workers", "1") as room, room.client() as client:
        (case,) = hand_in(client, KNEE)
        assert case["state"] == "graded"
    assert_kept_to_itself(watched)


def test_listen(
    watched: Watch, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacs_network, "command", lambda *words: traced(watched, *words))
    pixels = np.asarray(Image.open(KNEE).convert("L")).astype(np.uint16) * 16
    films, port, peer = write_films(tmp_path / "films", pixels, 1), free_port(), AnswerPeer()
    try:
        with Listening(tmp_path / "spool", peer.address, port, "--model", str(model)) as station:
            assert send(port, films) == [0]
            assert eventually(lambda: len(peer.got) == 4)
            assert station.stop() == 0
    finally:
        peer.close()
    assert_kept_to_itself(watched)


def test_train(watched: Watch, knees: list[Knee], tmp_path: Path) -> None:
    write_manifest(knees, tmp_path / "knees.csv")
    save_folds(FOLDS, tmp_path / "folds.json")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    run(
        watched,
        *("train", "member", tmp_path / "recipe.toml", "--data", tmp_path / "knees.csv"),
        *("--folds", tmp_path / "folds.json", "--fold", "1", "--out", tmp_path / "run"),
    )
    assert (tmp_path / "run" / "curves.png").is_file()
    assert_kept_to_itself(watched)
