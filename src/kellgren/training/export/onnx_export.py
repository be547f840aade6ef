"""From a trained network to the ONNX member that grades: one file, checked before it is kept."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from kellgren.arrays import Float32Array
from kellgren.atomic_files import replaced_whole
from kellgren.errors import CannotKeep, TrainingError
from kellgren.model_files.onnx_session import onnx_session
from kellgren.training.architectures import Member
from kellgren.training.export.folding import HALF_MAX, HALVED_FROM, folded, halve

LOGIT_TOLERANCE = 1e-4
_OPSET = 17
_LOSSLESS = 1e-6
"""Relative; folding an identity may move a weight by one unit in the last place of float32."""


class Exported(NamedTuple):
    """What was written.

    Attributes:
        network: computes what the file computes: on the CPU, weights rounded as the file holds
            them.
        difference: the largest of a logit from the network that was given, relative to
            max(1, ``|logit|``).
    """

    network: Member
    difference: float


def export(member: Member, size: int, path: Path, *, half_storage: bool = False) -> Exported:
    """Write a member as one ONNX file and check that it grades as the network does.

    The model takes ``image`` (N, 3, size, size) float32, normalised, and returns ``logits``
    (N, grades) and ``features`` (N, C, h, w), both float32; a network whose last activation lies
    outside its stages also returns ``unactivated`` (N, C, h, w). The linear layer is stored as
    float32 under the names ``head.weight`` (grades, C) and ``head.bias`` (grades,). The network
    given stays as it is. The file appears complete or not at all.

    Args:
        member: the network, in any mode and on any device.
        size: input height and width in pixels.
        path: file to write; an older one is replaced.
        half_storage: store large weights as float16, which halves the file. All sums are still
            done in float32; only the rounding of the weights changes the logits. They are rounded
            in torch, so the file can be held to the network that it stores, to 1e-4, by one
            session of ONNX Runtime.

    Raises:
        TrainingError: the file's logits differ by more than 1e-4 from those of the network it
            stores.
        CannotKeep: it cannot be written.
    """
    network = copy.deepcopy(member).cpu().float().eval()
    images = _sample_images(size)
    stored = given = _logits(network, images)
    if half_storage:
        network = folded(network, images[:1])
        moved = _difference(_logits(network, images[:1]), given[:1])
        if not moved <= LOGIT_TOLERANCE:
            raise _differs(path, moved)
        halve(network)
        stored = _logits(network, images)
    try:
        with replaced_whole(path) as draft:
            model = _traced(network, size, draft)
            if half_storage:
                store_half(model, exactly=True)
            difference = _difference(_logits_of(model, images), stored)
            if not difference <= LOGIT_TOLERANCE:  # so that not-a-number is refused too
                raise _differs(path, difference)
            onnx.save_model(model, draft)
    except OSError as error:
        raise CannotKeep(
            path,
            problem=f"the member cannot be written ({error.strerror or error})",
            remedy="Give a folder that is writable and has space.",
        ) from error
    return Exported(network, max(difference, _difference(stored, given)))


class _Exported(nn.Module):
    """The network with the outputs that a member of an ensemble has."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        unactivated = self.member.unactivated(image)
        features = self.member.activated(unactivated)
        outputs = self.member.classify(features), features
        return outputs if self.member.last_activation is None else (*outputs, unactivated)


def _traced(network: Member, size: int, draft: Path) -> onnx.ModelProto:
    # The tracing exporter is marked as deprecated, but the newer one needs one package more; and
    # tracing warns of each size that it freezes, which is what a fixed input size means.
    outputs = ["logits", "features"]
    if network.last_activation is not None:
        outputs.append("unactivated")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Exported(network).eval(),  # the exporter gives the network the wrapper's mode back
            (_sample_images(size),),
            draft,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["image"],
            output_names=outputs,
            dynamic_axes={name: {0: "N"} for name in ("image", *outputs)},
        )
    model = onnx.load(draft)
    _name_like_member(model)
    return model


def _sample_images(size: int) -> Tensor:
    """Two normalised images (2, 3, size, size), smooth with some grain as radiographs are."""
    chance = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 6, 6, generator=chance)
    smooth = F.interpolate(coarse, size=(size, size), mode="bicubic")
    grain = 0.03 * torch.randn(2, 1, size, size, generator=chance)
    return ((smooth + grain).clamp(0, 1) * 4 - 2).expand(2, 3, size, size).contiguous()


def _name_like_member(model: onnx.ModelProto) -> None:
    """Take the wrapper's prefix off the weights' names, so that ``head.weight`` is found."""
    for initializer in model.graph.initializer:
        initializer.name = initializer.name.removeprefix("member.")
    for node in model.graph.node:
        node.input[:] = [name.removeprefix("member.") for name in node.input]
        node.output[:] = [name.removeprefix("member.") for name in node.output]


def store_half(model: onnx.ModelProto, *, exactly: bool = False) -> None:
    """Store large float32 weights as float16, each followed by a cast back to float32.

    The runtime folds the casts when it loads the model. The head stays exact, because
    explanations read it; so does a tensor with values beyond float16's range.

    Args:
        model: changed in place.
        exactly: leave a tensor whole that float16 would round.
    """
    casts = []
    for initializer in model.graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT or initializer.name.startswith("head."):
            continue
        values = numpy_helper.to_array(initializer)
        if values.size < HALVED_FROM or np.abs(values).max() > HALF_MAX:
            continue
        halves = values.astype(np.float16)
        if exactly and not np.allclose(halves.astype(np.float32), values, _LOSSLESS, 0.0):
            continue
        name = initializer.name
        half = numpy_helper.from_array(halves, f"{name}.half")
        initializer.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def difference_of(model: onnx.ModelProto, network: Member, size: int) -> float:
    """Largest difference of a model's logits from a network's, relative to max(1, ``|logit|``).

    Args:
        model: exported, of the same architecture.
        network: on the CPU, in evaluation mode.
        size: input height and width in pixels.
    """
    images = _sample_images(size)
    return _difference(_logits_of(model, images), _logits(network, images))


def _logits_of(model: onnx.ModelProto, images: Tensor) -> Float32Array:
    session = onnx_session(model.SerializeToString(), threads=0)
    return np.asarray(session.run(["logits"], {"image": images.numpy()})[0])


def _logits(network: Member, images: Tensor) -> Float32Array:
    with torch.no_grad():
        return np.asarray(network(images).numpy())


def _difference(computed: Float32Array, expected: Float32Array) -> float:
    return float((np.abs(computed - expected) / np.maximum(1, np.abs(expected))).max())


def _differs(path: Path, difference: float) -> TrainingError:
    return TrainingError(
        path,
        problem=f"the exported member's logits differ from the network's by {difference:.2g}",
        remedy="Keep the checkpoint and report this with the versions of torch and onnxruntime.",
    )
