"""A member's graph with everything computed that does not depend on the picture.

Weights are widened to float32 there; those that stay so go back to the storage that they had.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kellgren.libraries import import_onnxruntime
from kellgren.model_files.onnx_session import CPU, onnx_session


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with everything computed that does not depend on the picture.

    Stored weights are widened to float32, and paddings that a graph reckons from the size of its
    features become numbers.
    """
    plain = _optimised(model)
    if _fix_paddings(plain):
        plain = _optimised(plain)
    for number, node in enumerate(plain.graph.node):
        node.name = node.name or f"node {number}"  # by which the quantiser tells them apart
    return plain


def _optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "plain.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
        plain = onnx.load(options.optimized_model_filepath)
    keep_own_domain(plain)
    return plain


def _fix_paddings(model: onnx.ModelProto) -> bool:
    """Replace the computed amounts of paddings by what they are; whether there were any."""
    stored = {initializer.name for initializer in model.graph.initializer}
    padded = [n for n in model.graph.node if n.op_type == "Pad" and n.input[1] not in stored]
    if not padded:
        return False
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = list(dict.fromkeys(node.input[1] for node in padded))
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in names
    )
    session = onnx_session(watched.SerializeToString(), threads=0)
    source = session.get_inputs()[0]
    picture = np.zeros((1, *source.shape[1:]), dtype=np.float32)
    for name, amounts in zip(names, session.run(names, {source.name: picture}), strict=True):
        fixed = numpy_helper.from_array(amounts, f"{name}.fixed")
        model.graph.initializer.append(fixed)
        for node in padded:
            if node.input[1] == name:
                node.input[1] = fixed.name
    _drop_unused(model)
    return True


def _drop_unused(model: onnx.ModelProto) -> None:
    """Take away the nodes that no output needs."""
    needed = {output.name for output in model.graph.output}
    used = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            used.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(used))


def keep_own_domain(model: onnx.ModelProto) -> None:
    """Take away the mention of operators of other makers, which the tools leave behind."""
    own = [opset for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(own)


def keep_storage(model: onnx.ModelProto, stored: onnx.ModelProto) -> None:
    """Store the weights that are still in float32 as they were stored: as int8, or in half.

    Args:
        model: changed in place.
        stored: the same member before it was made plain.
    """
    makers = {name: node for node in stored.graph.node for name in node.output}
    weights = {one.name: one for one in stored.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for wide in [one for one in model.graph.initializer if one.name in makers]:
        model.graph.initializer.remove(wide)
        wanted, made = [wide.name], list[onnx.NodeProto]()
        while wanted:
            name = wanted.pop()
            if name in weights:
                model.graph.initializer.append(weights[name])
            else:
                made.append(makers[name])
                wanted += makers[name].input
        nodes += reversed(made)
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
