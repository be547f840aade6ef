"""What each engine is asked for, what it has here, and what is refused with a remedy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle_factory import SIZE, write_network
from command_line import EXAMPLES, kellgren
from kellgren.errors import InvalidOption, MissingExtra
from kellgren.grades import Side
from kellgren.grading.bundle import open_bundle
from kellgren.grading.engines import onnxruntime_engine, processor
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.engines.gathering import Gathering
from kellgren.grading.engines.network_opening import open_network
from kellgren.grading.engines.onnxruntime_engine import (
    CUDA,
    cuda_missing,
    onnxruntime_network,
    onnxruntime_providers,
)
from kellgren.grading.engines.openvino_engine import OpenvinoNetwork
from kellgren.grading.engines.processor import computes_in_bf16
from kellgren.grading.panel import Panel
from kellgren.knee import KneeCrop
from kellgren.model_files.onnx_session import onnx_session
from kellgren.reading_schema import ModelRecord

LOOKS = np.random.default_rng(5).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a tiny network."""
    folder = tmp_path_factory.mktemp("network")
    write_network(folder, "member", seed=3)
    return (folder / "member.onnx").read_bytes()


def of_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str) -> None:
    """Let this be a processor with these flags."""
    info = tmp_path / "cpuinfo"
    info.write_text(f"model name\t: Some CPU\nflags\t\t: {flags}\n")
    monkeypatch.setattr(processor, "_CPU_INFO", info)


@pytest.mark.parametrize("workers", [1, 2])
def test_openvino_has_a_stream_for_each_worker(model: bytes, workers: int) -> None:
    pytest.importorskip("openvino")
    settings = EngineSettings("openvino", threads=1, workers=workers)
    compiled: Any = OpenvinoNetwork(model, SIZE, settings).compiled
    assert compiled.get_property("NUM_STREAMS") == workers
    assert compiled.get_property("INFERENCE_NUM_THREADS") == workers
    assert not compiled.get_property("ENABLE_CPU_PINNING")
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_look_gives_the_same_beside_others_and_alone(model: bytes, engine: Any) -> None:
    pytest.importorskip(engine)
    infer = open_network(model, SIZE, EngineSettings(engine, threads=1))
    together = infer(LOOKS)
    assert together[2] is None
    for number in range(len(LOOKS)):
        alone = infer(LOOKS[number : number + 1])
        for one, all_of_them in zip(alone[:2], together[:2], strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[number])


@pytest.mark.parametrize("flags", ["avx2 fma", "avx512f avx512_vnni"])
def test_bf16_is_refused_on_a_processor_without_it(
    model: bytes,
    flags: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("openvino")
    of_processor(monkeypatch, tmp_path, flags)
    with pytest.raises(InvalidOption, match=r"does not compute in it.*Leave the precision at fp32"):
        open_network(model, SIZE, EngineSettings("openvino", "bf16"))
    words = ("--engine", "openvino", "--precision", "bf16")
    assert kellgren("grade", EXAMPLES / "9177337L.png", *words) == 2
    assert "this processor does not compute in it" in capsys.readouterr().err
    open_network(model, SIZE, EngineSettings("openvino"))


@pytest.mark.parametrize(
    ("flags", "there"),
    [("avx512f avx512_bf16", True), ("amx_bf16", True), ("avx512f", False), ("vme", None)],
)
def test_bf16_is_told_by_the_flags_where_there_are_any(
    flags: str, there: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_processor(monkeypatch, tmp_path, flags)
    assert computes_in_bf16() is there


@pytest.mark.parametrize(
    ("machine", "flags", "there"),
    [
        ("x86_64", "avx512f avx512_vnni", True),
        ("AMD64", "avx2 avx_vnni", True),
        ("x86_64", "avx2 fma avx512f", False),
        ("x86_64", "vme", False),
        ("arm64", "vme", True),
    ],
)
def test_int8_is_summed_in_float32_where_sums_would_be_cut_off(
    model: bytes,
    machine: str,
    flags: str,
    there: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_processor(monkeypatch, tmp_path, flags)
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    opened = []

    def noted(model: bytes, threads: int, **options: bool) -> Any:
        opened.append(options["int8"])
        return onnx_session(model, threads, **options)

    monkeypatch.setattr(onnxruntime_engine, "onnx_session", noted)
    open_network(model, SIZE, EngineSettings())
    assert opened == [there]


def test_openvino_is_asked_where_the_system_lists_no_flags(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "none")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        open_network(model, SIZE, EngineSettings("openvino", "bf16"))
        return
    with pytest.raises(InvalidOption, match="does not compute in it"):
        open_network(model, SIZE, EngineSettings("openvino", "bf16"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (EngineSettings("openvino", device="cuda"), "OpenVINO computes on the processor"),
        (EngineSettings(device="gpu"), "Choose 'cpu' or 'cuda'"),  # type: ignore[arg-type]
        (EngineSettings(workers=0), "workers: is 0"),
        (EngineSettings(workers=True), "workers: is True"),
        (EngineSettings(threads=-1), "threads: is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: EngineSettings, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        settings.check()


def test_cuda_is_refused_where_this_onnxruntime_has_none(
    model: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    if CUDA in onnxruntime_providers():
        pytest.skip("it has")
    with pytest.raises(MissingExtra, match=r"CPUExecutionProvider only.*pip uninstall onnxruntime"):
        open_network(model, SIZE, EngineSettings(device="cuda"))
    assert kellgren("grade", EXAMPLES / "9177337L.png", "--device", "cuda") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: device cuda: this ONNX Runtime computes on ")
    assert len(said.err.splitlines()) == 1


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_never_becomes_the_processor_in_silence(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime goes on with what it has where a GPU's libraries cannot be loaded."""
    if CUDA in onnxruntime_providers():
        pytest.skip("here they may be")
    monkeypatch.setattr(onnxruntime_engine, "onnxruntime_providers", lambda: [CUDA])
    with pytest.raises(MissingExtra, match="the GPU's driver cannot be loaded"):
        onnxruntime_network(model, SIZE, 1, "cuda")


def test_what_a_session_computes_on_is_told_by_its_providers() -> None:
    assert cuda_missing([CUDA, "CPUExecutionProvider"]) == ""
    assert cuda_missing(["CPUExecutionProvider"]).endswith("CPUExecutionProvider only")
    assert "nothing" in cuda_missing([])


def test_on_a_gpu_what_waits_is_gathered(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it can be tried without one: the session is made on the processor."""
    monkeypatch.setattr(onnxruntime_engine, "_cuda_session", onnx_session)
    gathered = open_network(model, SIZE, EngineSettings(device="cuda"))
    assert isinstance(gathered, Gathering)
    plain = open_network(model, SIZE, EngineSettings())
    for one, other in zip(gathered(LOOKS)[:2], plain(LOOKS)[:2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_bundle_on_a_gpu_is_tried_on_the_processor_first_and_records_the_device(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it can be tried without one: the session is made on the processor."""
    opened: list[str] = []

    def on_gpu(model: bytes, threads: int) -> Any:
        opened.append("cuda")
        return onnx_session(model, threads)

    def on_processor(model: bytes, threads: int, **options: bool) -> Any:
        opened.append("cpu")
        return onnx_session(model, threads, **options)

    monkeypatch.setattr(onnxruntime_engine, "_cuda_session", on_gpu)
    monkeypatch.setattr(onnxruntime_engine, "onnx_session", on_processor)
    panel = Panel(open_bundle(bundle), EngineSettings(device="cuda", workers=3))
    assert opened == ["cpu", "cuda"]
    assert panel.record["device"] == "cuda"
    assert "device" not in Panel(open_bundle(bundle)).record
    knees = [KneeCrop(look[0] / 8 + 0.5, Side.RIGHT) for look in LOOKS]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(panel.examine, knees))
    plain = Panel(open_bundle(bundle), EngineSettings(threads=1))
    for one, knee in zip(together, knees, strict=True):
        np.testing.assert_allclose(one.probabilities, plain.examine(knee).probabilities, atol=1e-6)


def test_the_device_is_recorded_where_it_is_no_processor() -> None:
    model = {
        **{"name": "tiny", "software": "kellgren 0", "checksum": "0", "engine": "onnxruntime"},
        **{"precision": "fp32", "mirror": "averaged", "other_knee": "off"},
    }
    assert "device" not in ModelRecord.model_validate(model).model_dump(mode="json")
    on_gpu = ModelRecord.model_validate(model | {"device": "cuda"})
    assert on_gpu.model_dump(mode="json")["device"] == "cuda"
