"""Large weights of a member stored as int8 with one scale for each output channel.

Rounding alone moves a probability by 0.03 and turns one grade in forty; so each rounding error is
made up for by the weights that are rounded after it, weighed by what the layer sees of real knees
(Frantar et al. 2023, GPTQ). Docs: docs/decisions/0017-finals-and-int8.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from kellgren.arrays import Float32Array
from kellgren.model_files.onnx_session import onnx_session

INT8_FROM = 65536  # values; smaller layers hold a tenth of the weights and make half the error
_LARGEST = 127
_POSITIONS = 64  # at which a layer's input is looked at, in each picture
_DAMPING = 0.01
_BLOCK = 128


@dataclass
class Layer:
    """A convolution, or a product with a matrix, whose weights become int8.

    Attributes:
        node: of the graph.
        stored: name of the initializer with its weights.
        moments: ``(K, K)`` sum of the products of all pairs of its inputs.
    """

    node: onnx.NodeProto
    stored: str
    weight: Float32Array
    moments: Float32Array = field(init=False)

    def __post_init__(self) -> None:
        inputs = self.rows.shape[1]
        self.moments = np.zeros((inputs, inputs), dtype=np.float32)

    @property
    def outputs_last(self) -> bool:
        """Whether the weight's last axis counts the outputs, and not its first."""
        if self.node.op_type == "MatMul":
            return True
        return self.node.op_type == "Gemm" and not _attribute(self.node, "transB", 0)

    @property
    def rows(self) -> Float32Array:
        """``(outputs, K)`` weights."""
        turned = self.weight.T if self.outputs_last else self.weight
        return turned.reshape(len(turned), -1)

    def see(self, features: Float32Array, chance: np.random.Generator) -> None:
        """Take note of what one picture gives the layer."""
        seen = self._inputs(features, chance)
        self.moments += seen.T @ seen

    def _inputs(self, features: Float32Array, chance: np.random.Generator) -> Float32Array:
        if self.node.op_type != "Conv":
            flat = features.reshape(-1, features.shape[-1])
            return flat[chance.permutation(len(flat))[:_POSITIONS]]
        kernel = self.weight.shape[2:]
        top, left, bottom, right = _attribute(self.node, "pads", (0, 0, 0, 0))
        padded = np.pad(features[0], ((0, 0), (top, bottom), (left, right)))
        stride = _attribute(self.node, "strides", (1, 1))
        wide = _attribute(self.node, "dilations", (1, 1))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, wide, strict=True)]
        places = [
            chance.integers(0, (side - r) // step + 1, _POSITIONS) * step
            for side, r, step in zip(padded.shape[1:], reach, stride, strict=True)
        ]
        patches = [
            padded[:, y : y + reach[0] : wide[0], x : x + reach[1] : wide[1]].reshape(-1)
            for y, x in zip(*places, strict=True)
        ]
        return np.stack(patches)


def store_int8(model: onnx.ModelProto, images: Float32Array, seed: int = 0) -> int:
    """Store the large weights as int8, each followed by a cast and a product with its scales.

    The runtime folds both when it loads the model, so that it computes in float32 as ever. The
    head stays exact, because explanations read it; so do small layers, and grouped convolutions,
    which are small for what they do.

    Args:
        model: a member, its weights float32 or float16; changed in place.
        images: ``(N, 3, S, S)`` normalised knees, some tens.
        seed: of the places in the pictures that are looked at.

    Returns:
        How many layers are stored so.
    """
    layers = list(large_layers(model))
    if not layers:
        return 0
    observe(model, layers, images, np.random.default_rng(seed))
    nodes = []
    for layer in layers:
        scale = np.maximum(np.abs(layer.rows).max(axis=1), np.float32(1e-30)) / _LARGEST
        rounded = round_compensated(layer.rows, scale, layer.moments)
        nodes += _replace(model, layer, rounded, scale)
    whole = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(whole)
    return len(layers)


def round_compensated(
    weight: Float32Array, scale: Float32Array, moments: Float32Array
) -> npt.NDArray[np.int8]:
    """Round weights so that what they give for the inputs seen changes as little as may be.

    Args:
        weight: ``(outputs, K)``.
        scale: ``(outputs,)``, one step of the rounding.
        moments: ``(K, K)`` sums of the products of pairs of inputs.

    Returns:
        ``(outputs, K)`` whole numbers from -127 to 127: ``weight`` is about ``scale`` times them.
    """
    power = np.diagonal(moments).astype(np.float64)
    order = np.argsort(-power, kind="stable")  # the inputs that matter most are rounded first
    inner = moments[np.ix_(order, order)].astype(np.float64)
    inner[np.diag_indices_from(inner)] += _DAMPING * power.mean() + 1e-12
    upper = np.linalg.cholesky(np.linalg.inv(inner)).T
    left = weight[:, order].astype(np.float64)
    steps = scale.astype(np.float64)
    rounded = np.empty(weight.shape, dtype=np.int8)
    for start in range(0, weight.shape[1], _BLOCK):
        block = slice(start, min(start + _BLOCK, weight.shape[1]))
        errors = np.empty((len(weight), block.stop - start))
        for column in range(start, block.stop):
            whole = np.clip(np.rint(left[:, column] / steps), -_LARGEST, _LARGEST)
            rounded[:, order[column]] = whole
            error = (left[:, column] - whole * steps) / upper[column, column]
            left[:, column : block.stop] -= np.outer(error, upper[column, column : block.stop])
            errors[:, column - start] = error
        left[:, block.stop :] -= errors @ upper[block, block.stop :]
    return rounded


def large_layers(model: onnx.ModelProto, least: int = INT8_FROM) -> Iterator[Layer]:
    """The layers whose weights are large, constant and theirs alone.

    Args:
        model: a member, its weights float32 or float16.
        least: values that a layer's weights must have.
    """
    stored = {initializer.name: initializer for initializer in model.graph.initializer}
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    taken = [name for node in model.graph.node for name in node.input]
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.input) < 2:
            continue
        name = node.input[1]
        source = casts.get(name, name)
        if source not in stored or name.startswith("head.") or taken.count(name) > 1:
            continue
        if _attribute(node, "group", 1) > 1 or _attribute(node, "transA", 0):
            continue
        values = numpy_helper.to_array(stored[source])
        floats = values.dtype in (np.float16, np.float32)
        if floats and values.size >= least and (node.op_type == "Conv" or values.ndim == 2):
            yield Layer(node, source, values.astype(np.float32))


def observe(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    images: Float32Array,
    chance: np.random.Generator,
) -> None:
    """Run pictures through the network, and let every layer see its input.

    Args:
        model: whose layers these are.
        layers: that look.
        images: ``(N, 3, S, S)`` normalised.
        chance: chooses the places in a picture that are looked at.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = list(dict.fromkeys(layer.node.input[0] for layer in layers))
    known = {value.name for value in (*model.graph.input, *model.graph.output)}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in known
    )
    session = onnx_session(watched.SerializeToString(), threads=0)
    source = model.graph.input[0].name
    wanted = [name for name in names if name != source]
    for image in images:
        values = {source: image[None]}
        if wanted:  # without names, everything is returned
            values |= zip(wanted, session.run(wanted, {source: image[None]}), strict=True)
        for layer in layers:
            layer.see(values[layer.node.input[0]], chance)


def _replace(
    model: onnx.ModelProto, layer: Layer, rounded: npt.NDArray[np.int8], scale: Float32Array
) -> list[onnx.NodeProto]:
    """Put a layer's int8 weights in the place of those it had; the nodes that widen them."""
    name, shape = layer.node.input[1], layer.weight.shape
    if layer.outputs_last:
        whole, steps = rounded.T.reshape(shape), scale.reshape(1, -1)
    else:
        whole, steps = rounded.reshape(shape), scale.reshape(-1, *[1] * (len(shape) - 1))
    graph = model.graph
    for stored in [one for one in graph.initializer if one.name == layer.stored]:
        graph.initializer.remove(stored)
    for cast in [node for node in graph.node if name in node.output]:
        graph.node.remove(cast)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.ascontiguousarray(whole), f"{name}.int8"),
            numpy_helper.from_array(steps.astype(np.float32), f"{name}.scale"),
        ]
    )
    wide = f"{name}.wide"
    return [
        helper.make_node("Cast", [f"{name}.int8"], [wide], to=TensorProto.FLOAT),
        helper.make_node("Mul", [wide, f"{name}.scale"], [name]),
    ]


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    matches = [attribute for attribute in node.attribute if attribute.name == name]
    return helper.get_attribute_value(matches[0]) if matches else default
