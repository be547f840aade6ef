"""A model bundle for tests that want many readings fast: one untrained convolution, 64 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kellgren.grades import Grade
from kellgren.grading.bundle import FORMAT, Bundle, Card, MemberCard, TrainingData, write_bundle
from kellgren.grading.combiner import Combiner
from kellgren.grading.contralateral import BothKnees
from kellgren.grading.preprocess import Preprocess

SIZE, CHANNELS = 64, 8


def make_bundle(
    folder: Path,
    *,
    seed: int = 0,
    networks: int = 1,
    backbones: int = 1,
    both_knees: BothKnees | None = None,
) -> Bundle:
    """Write a bundle whose opinions are fixed by the seed and differ from knee to knee.

    Args:
        folder: new.
        seed: of the first network; the others' follow.
        networks: fold-models of each backbone.
        backbones: that vote.
        both_knees: what the card makes of the other knee.
    """
    parts = folder.with_name(folder.name + "-parts")
    parts.mkdir(parents=True)
    members = []
    for number in range(networks * backbones):
        name = "member" if not number else f"member-{number}"
        grid = 8 if number % backbones == 0 else 4
        write_network(parts, name, seed + number, grid)
        members.append(_member(name, f"tiny-{number % backbones}"))
    combiner = Combiner(
        members=tuple(f"tiny-{number}" for number in range(backbones)),
        weights=(1.0 / backbones,) * backbones,
    )
    files = {path.name: path for path in sorted(parts.iterdir())}
    card = _card(f"tiny-{seed}", tuple(members), combiner, both_knees)
    return write_bundle(card, files, folder)


def write_network(
    folder: Path, name: str, seed: int, grid: int = 8, channels: int = CHANNELS
) -> None:
    """Write an ONNX member and its head, whose features have ``grid`` cells in each direction."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(0, 0.6, (channels, 3, 7, 7)).astype(np.float32)
    weight = rng.normal(0, 2.0, (5, channels)).astype(np.float32)
    bias = rng.normal(0, 0.1, 5).astype(np.float32)
    onnx.save(_network(kernel, weight, bias, grid), folder / f"{name}.onnx")
    np.savez(folder / f"{name}.head.npz", weight=weight, bias=bias)


def _network(
    kernel: np.ndarray, weight: np.ndarray, bias: np.ndarray, grid: int
) -> onnx.ModelProto:
    stride = SIZE // grid
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["map"], strides=[stride, stride]),
        helper.make_node("Relu", ["map"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
    ]
    arrays = {"kernel": kernel, "weight": weight, "bias": bias}
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5]),
        helper.make_tensor_value_info(
            "features", TensorProto.FLOAT, ["N", len(kernel), grid, grid]
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [image],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _member(name: str, backbone: str) -> MemberCard:
    return MemberCard(
        name=name,
        backbone=backbone,
        architecture="none",
        model=f"{name}.onnx",
        head=f"{name}.head.npz",
        preprocess=Preprocess(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        recipe={},
        recipe_hash="0",
        started_from="chance",
        trained_folds=(),
    )


def _card(
    name: str, members: tuple[MemberCard, ...], combiner: Combiner, both_knees: BothKnees | None
) -> Card:
    data = TrainingData(
        name="none", licence="none", credit="none", knees=0, patients=0, folds_hash="0", folds=0
    )
    return Card(
        format=FORMAT,
        name=name,
        version="0",
        grades=tuple(grade.label for grade in Grade),
        scale="none",
        members=members,
        combiner=combiner,
        both_knees=both_knees,
        data=data,
        out_of_fold={},
        versions={},
        files={},
        intended_use="tests only",
    )
