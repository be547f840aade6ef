"""ONNX graphs are looked through before a runtime opens them: only what networks are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from bundle_factory import write_network
from kellgren.model_files.onnx_graph import OPERATORS, check_graph

MODELS = Path(__file__).parents[2] / "src" / "kellgren" / "models"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    folder = tmp_path_factory.mktemp("networks")
    write_network(folder, "tiny", 0)
    return onnx.load(folder / "tiny.onnx")


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    return changed


def outside() -> onnx.TensorProto:
    """A tensor whose values lie in another file."""
    tensor = numpy_helper.from_array(np.ones(4, dtype=np.float32), "far")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def constant_outside(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["far"], value=outside()))


def named_outside(model: onnx.ModelProto) -> None:
    """Without the mark that the values lie elsewhere, but with the place."""
    tensor = numpy_helper.from_array(np.ones(4, dtype=np.float32), "far")
    tensor.external_data.add(key="location", value="weights.bin")
    model.graph.initializer.append(tensor)


def in_a_branch(model: onnx.ModelProto) -> None:
    """As an attribute of an operator that is allowed, which no runtime would look at."""
    inner = helper.make_graph([], "inner", [], [], [outside()])
    model.graph.node[0].attribute.append(helper.make_attribute("branch", inner))


def a_loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=body))


def many_graphs(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("branches", [inner]))


def another_domain(model: onnx.ModelProto) -> None:
    model.graph.node.append(
        helper.make_node("Relu", ["image"], ["x"], domain="com.microsoft.nchwc")
    )


def another_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("evil.domain", 1))


def a_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], [node], opset))


def sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, dtype=np.float32), "few")
    places = numpy_helper.from_array(np.zeros(1, dtype=np.int64), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [9]))


FORGERIES = {
    "weights outside": (
        lambda model: model.graph.initializer.append(outside()),
        "keeps its values in another file",
    ),
    "a constant outside": (constant_outside, "keeps its values in another file"),
    "a place outside": (named_outside, "keeps its values in another file"),
    "weights of a branch outside": (in_a_branch, "a graph inside a graph"),
    "a loop": (a_loop, "operator 'Loop'|a graph inside a graph"),
    "branches": (many_graphs, "a graph inside a graph"),
    "chance": (
        lambda model: model.graph.node.append(
            helper.make_node("RandomNormal", [], ["x"], shape=[9])
        ),
        "its operator 'RandomNormal' is none that networks here have",
    ),
    "another domain": (another_domain, "its operators of 'com.microsoft.nchwc'"),
    "another set of operators": (another_opset, "its operators of 'evil.domain'"),
    "a function": (a_function, "functions or training steps"),
    "sparse weights": (sparse, "sparse tensors"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_networks_are_not_made_of_is_named(tiny: onnx.ModelProto, name: str) -> None:
    forge, words = FORGERIES[name]
    model = copy(tiny)
    check_graph(model.SerializeToString())
    forge(model)
    with pytest.raises(ValueError, match=words):
        check_graph(model.SerializeToString())


@pytest.mark.parametrize(
    "content",
    [b"", b"no network at all", b"<?xml version='1.0'?><net/>", b"\x08", b"\x08\x08", b"\xff" * 40],
)
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="ONNX"):
        check_graph(content)


def test_two_graphs_are_refused(tiny: onnx.ModelProto) -> None:
    """Protocol buffers merge a second part into the first; a reader of one alone would miss it."""
    again = onnx.ModelProto(graph=onnx.GraphProto(name="again"))
    with pytest.raises(ValueError, match="2 ONNX graphs"):
        check_graph(tiny.SerializeToString() + again.SerializeToString())


def test_the_packages_networks_pass_with_operators_to_spare() -> None:
    paths = sorted(MODELS.rglob("*.onnx"))
    assert len(paths) == 6
    for path in paths:
        check_graph(path.read_bytes())
        assert {node.op_type for node in onnx.load(path).graph.node} <= OPERATORS


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_is_a_value_error_or_passes(tiny: onnx.ModelProto, data: st.DataObject) -> None:
    changed = bytearray(tiny.SerializeToString())
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        check_graph(bytes(changed))
    except ValueError:
        return
