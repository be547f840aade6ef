"""Back from a member's ONNX file to a network that can learn on, where no checkpoint is left."""

from __future__ import annotations

import copy
from collections import deque
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from kellgren.errors import TrainingError
from kellgren.training.architectures import Member
from kellgren.training.export.batch_statistics import measure
from kellgren.training.export.folding import Layer, layers_in_order, undo
from kellgren.training.export.onnx_export import difference_of

_TOLERANCE = 1e-3
Values = dict[str, npt.NDArray[np.float32]]


def load_exported(network: Member, path: Path, images: Tensor) -> None:
    """Fill a network with the weights of an exported member.

    Exporting folds each batch normalisation into the convolution before it. Its weights come
    back as a normalisation by what the images' own features measure, and the affine map that
    undoes it: the network computes what the file computes, and learns on as any other does.

    Args:
        network: of the same architecture; changed in place, left in evaluation mode.
        path: of the ONNX file.
        images: ``(N, 3, S, S)`` normalised knees to measure features on, where the network is; S
            that of the file.

    Raises:
        TrainingError: not such a file, of another network, or one that does not compute the same.
    """
    network.eval()
    try:
        model = _model(path)
        undone = _fill(layers_in_order(network, images[:1]), _nodes(model), _values(model))
    except (IndexError, KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            path,
            f"cannot be brought back into a network ({type(error).__name__})",
            "Name a member of the same architecture, or a run with its checkpoint",
        ) from None
    measure(network, images, undone)
    difference = difference_of(model, copy.deepcopy(network).cpu(), images.shape[-1])
    if not difference <= _TOLERANCE:
        raise TrainingError(
            path,
            f"brought back, its logits differ by {difference:.2g}",
            "Name a run with its checkpoint",
        )


def _model(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # of protobuf, whose own classes are not onnx's to promise
        raise ValueError(type(error).__name__) from error


def _values(model: onnx.ModelProto) -> Values:
    """The weights by the names that the layers know them by, halved ones as float32 again."""
    values = {i.name: numpy_helper.to_array(i).astype(np.float32) for i in model.graph.initializer}
    casts = (node for node in model.graph.node if node.op_type == "Cast")
    return values | {c.output[0]: values[c.input[0]] for c in casts if c.input[0] in values}


def _nodes(model: onnx.ModelProto) -> deque[onnx.NodeProto]:
    kinds = ("Conv", "BatchNormalization", "Gemm")
    return deque(node for node in model.graph.node if node.op_type in kinds)


def _fill(
    layers: list[tuple[Layer, Layer | None]], nodes: deque[onnx.NodeProto], values: Values
) -> list[nn.BatchNorm2d]:
    """Give each layer its weights; which normalisations were folded, as all after convolutions."""
    biases: dict[Layer, Tensor] = {}
    undone = []
    for layer, before in layers:
        if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            undo(layer, before, biases[before])
            undone.append(layer)
            continue
        tensors = [torch.from_numpy(values[name].copy()) for name in nodes.popleft().input[1:]]
        if isinstance(layer, nn.BatchNorm2d):
            names = ("weight", "bias", "running_mean", "running_var")
            layer.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)
        else:
            biases[layer] = tensors[1] if len(tensors) > 1 else torch.zeros(len(tensors[0]))
            own = {"weight": tensors[0], "bias": biases[layer]}
            layer.load_state_dict(own if layer.bias is not None else {"weight": tensors[0]})
    if nodes:
        raise ValueError("the file has more layers than the network")
    return undone
