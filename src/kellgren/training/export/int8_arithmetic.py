"""Members whose convolutions are computed in int8, by post-training quantisation.

ONNX Runtime's static quantisation: a convolution takes uint8 features with one scale a tensor and
int8 weights with one scale an output channel. What lies between convolutions stays in float32: to
round features again where they are joined or averaged moves the logits more than the convolutions
do. So does what follows the last feature map (mean and linear layer), so that class maps still sum
to the logits. Docs: docs/decisions/0031-int8-arithmetic.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import redirect_stdout
from functools import cached_property
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from kellgren.arrays import Float32Array
from kellgren.errors import TrainingError
from kellgren.grading.voting import softmax
from kellgren.libraries import import_quantization
from kellgren.model_files.onnx_session import onnx_session
from kellgren.training.export.int8_storage import (
    Layer,
    large_layers,
    observe,
    round_compensated,
)
from kellgren.training.export.plain_graph import (
    keep_own_domain,
    keep_storage,
    simplified,
)

_OPERATORS = ("Conv",)
_MOST_INPUTS = 4608
"""Of an output, to make up for its rounding: time grows with their third power."""
_SEARCHED = 16
_KEPT = (0, 1, 2, 4, 8, 16, 32)
"""Convolutions in float32, tried one after the other."""
MOST_SHIFT = 0.001
"""Mean change of a probability, of one look: where it is twice as large, a grade in a hundred
changes."""


class Quantiser:
    """One member, and what its tensors hold for the knees that it is calibrated on.

    Args:
        model: a member; its weights in any storage.
        images: ``(N, 3, S, S)`` normalised as in grading, both looks of some tens of knees.
        compensated: make up for the errors of rounding the weights; takes minutes for large
            networks.

    Attributes:
        layers: names of its convolutions, in the order images pass them.

    Raises:
        TrainingError: it has no convolution.
    """

    def __init__(
        self, model: onnx.ModelProto, images: Float32Array, *, compensated: bool = True
    ) -> None:
        self._stored, self._plain = model, simplified(model)
        self._images = images
        self._compensated = compensated
        self._rounded: dict[str, npt.NDArray[np.int8]] = {}
        self.layers = [node.name for node in self._plain.graph.node if node.op_type == "Conv"]
        if not self.layers:
            raise TrainingError("the member", "has no convolution", "Leave it in fp32")

    def quantised(self, kept: Collection[str] = ()) -> onnx.ModelProto:
        """The member in int8.

        Args:
            kept: names of the convolutions that stay in float32.
        """
        tools = import_quantization()
        model = onnx.ModelProto()
        model.CopyFrom(self._plain)
        quantizer = tools.qdq_quantizer.QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=tools.QuantType.QInt8,
            activation_qType=tools.QuantType.QUInt8,
            tensors_range=self._measured,
            nodes_to_quantize=[],
            nodes_to_exclude=[*kept, *_after_the_features(model)],
            op_types_to_quantize=list(_OPERATORS),
            extra_options={},
        )
        quantizer.quantize_model()
        made: onnx.ModelProto = quantizer.model.model
        if self._compensated:
            self._round_anew(made)
        keep_own_domain(made)
        keep_storage(made, self._stored)
        return made

    def _round_anew(self, made: onnx.ModelProto) -> None:
        """Round weights so that the errors of one make up for those of others.

        Rounding to the nearest moves a probability by several times as much as the uint8 features
        do. Scales stay as the quantiser chose them.
        """
        stored = {initializer.name: initializer for initializer in made.graph.initializer}
        for layer in self._observed:
            name = layer.node.input[1]
            nearest = stored.get(f"{name}_quantized")
            if nearest is None:
                continue  # it stays in float32
            if name not in self._rounded:
                scale = numpy_helper.to_array(stored[f"{name}_scale"]).reshape(-1)
                self._rounded[name] = round_compensated(layer.rows, scale, layer.moments)
            better = self._rounded[name].reshape(layer.weight.shape)
            nearest.CopyFrom(numpy_helper.from_array(better, nearest.name))

    @cached_property
    def _measured(self) -> Any:
        """The range of every tensor."""
        return _measure(self._plain, self._images)

    @cached_property
    def _observed(self) -> list[Layer]:
        """The convolutions that are not grouped, nor very wide, and what they are given."""
        layers = [
            one
            for one in large_layers(self._plain, 1)
            if one.node.op_type == "Conv" and one.weight[0].size <= _MOST_INPUTS
        ]
        observe(self._plain, layers, self._images[::2], np.random.default_rng(0))
        return layers

    def chosen(self) -> list[str]:
        """The fewest convolutions that have to stay in float32, going by the calibrating pictures.

        Returns:
            Names, the first of `ranked`: as many as it takes until probabilities shift by at most
            `MOST_SHIFT`, or as many as are tried.
        """
        ranked, kept = self.ranked(), list[str]()
        expected = softmax(_logits(self._plain, self._images))
        for count in _KEPT:
            if count >= len(ranked):
                break
            kept = ranked[:count]
            seen = softmax(_logits(self.quantised(kept), self._images))
            if np.abs(seen - expected).mean() <= MOST_SHIFT:
                break
        return kept

    def ranked(self) -> list[str]:
        """The convolutions, those that int8 costs most first.

        Of each: how far the logits of the first calibrating pictures move, in the mean, where it
        alone is computed in int8. Layers near the picture come first: what they round passes
        through all others.
        """
        images = self._images[:_SEARCHED]
        expected = _logits(self._plain, images)

        def shift(layer: str) -> float:
            others = [name for name in self.layers if name != layer]
            return float(np.abs(_logits(self.quantised(others), images) - expected).mean())

        return sorted(self.layers, key=shift, reverse=True)


def _measure(model: onnx.ModelProto, images: Float32Array) -> Any:
    """The least and the largest value of every tensor."""
    tools = import_quantization()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plain.onnx"
        onnx.save_model(model, path)
        calibrator = tools.calibrate.create_calibrator(
            path,
            list(_OPERATORS),
            augmented_model_path=str(Path(folder) / "watched.onnx"),
            calibrate_method=tools.CalibrationMethod.MinMax,
        )
        name = model.graph.input[0].name
        with redirect_stdout(StringIO()):  # it prints a line for every picture
            for image in images:  # one at a time: it keeps all tensors of what it is given
                calibrator.collect_data(_Reader(name, image[None]))
            return calibrator.compute_data()


class _Reader:
    """What the calibrator of ONNX Runtime takes its pictures from."""

    def __init__(self, name: str, *images: Float32Array) -> None:
        self._inputs: Iterator[dict[str, Float32Array]] = iter([{name: image} for image in images])

    def get_next(self) -> dict[str, Float32Array] | None:
        return next(self._inputs, None)


def _after_the_features(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that follow the last feature map."""
    after, names = {"features"}, []
    for node in model.graph.node:
        if after.intersection(node.input):
            after.update(node.output)
            names.append(node.name)
    return names


def _logits(model: onnx.ModelProto, images: Float32Array) -> Float32Array:
    session = onnx_session(model.SerializeToString(), threads=0)
    name = model.graph.input[0].name
    return np.concatenate([session.run(["logits"], {name: image[None]})[0] for image in images])
