"""A model bundle for tests that want many readings fast: one untrained convolution, 64 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kellgren.bundle import FORMAT, Bundle, Card, MemberCard, TrainingData, write_bundle
from kellgren.grades import Grade
from kellgren.preprocess import Preprocess

SIZE, CHANNELS = 64, 8


def make_bundle(folder: Path, *, seed: int = 0) -> Bundle:
    """Write a bundle whose opinions are fixed by the seed and differ from knee to knee."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(0, 0.6, (CHANNELS, 3, 7, 7)).astype(np.float32)
    weight = rng.normal(0, 2.0, (5, CHANNELS)).astype(np.float32)
    bias = rng.normal(0, 0.1, 5).astype(np.float32)
    parts = folder.with_name(folder.name + "-parts")
    parts.mkdir(parents=True)
    onnx.save(_network(kernel, weight, bias), parts / "member.onnx")
    np.savez(parts / "member.head.npz", weight=weight, bias=bias)
    files = {name: parts / name for name in ("member.onnx", "member.head.npz")}
    return write_bundle(_card(f"tiny-{seed}"), files, folder)


def _network(kernel: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["map"], strides=[8, 8]),
        helper.make_node("Relu", ["map"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
    ]
    arrays = {"kernel": kernel, "weight": weight, "bias": bias}
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", CHANNELS, 8, 8]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [image],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _card(name: str) -> Card:
    member = MemberCard(
        name="tiny",
        architecture="none",
        model="member.onnx",
        head="member.head.npz",
        preprocess=Preprocess(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        recipe={},
        recipe_hash="0",
        started_from="chance",
        trained_folds=(),
    )
    data = TrainingData(
        name="none", licence="none", credit="none", knees=0, patients=0, folds_hash="0", folds=0
    )
    return Card(
        format=FORMAT,
        name=name,
        version="0",
        grades=tuple(grade.label for grade in Grade),
        scale="none",
        members=(member,),
        data=data,
        out_of_fold={},
        versions={},
        files={},
        intended_use="tests only",
    )
