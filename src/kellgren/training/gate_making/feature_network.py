"""The gate's network: the first blocks of EfficientNet-Lite2, with weights of ImageNet."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from kellgren.errors import InvalidOption
from kellgren.training.export.onnx_export import store_half

SIZE = 224
"""Height and width of its input, in pixels."""
_OPSET = 17


class GateNetwork(nn.Module):
    """Down to a sixteenth of the picture; 0.25 million weights.

    Takes ``(N, 1, S, S)`` grey values 0..1 and returns ``(N, 184, S/16, S/16)``: 88 channels of
    that depth, then of the 48 channels at an eighth the means and the largest values.
    """

    def __init__(self) -> None:
        super().__init__()
        whole: Any = timm.create_model("tf_efficientnet_lite2")
        self.stem = nn.Sequential(whole.conv_stem, whole.bn1)
        self.fine = whole.blocks[:3]
        self.deep = whole.blocks[3][:2]

    def forward(self, knee: Tensor) -> Tensor:
        """See the class."""
        fine = self.fine(self.stem((knee * 2 - 1).expand(-1, 3, -1, -1)))
        deep = self.deep(fine)
        return torch.cat([deep, F.avg_pool2d(fine, 2), F.max_pool2d(fine, 2)], dim=1)


def exported(weights: Path) -> bytes:
    """The network as the content of an ONNX file, large weights in half precision.

    Args:
        weights: of timm's ``tf_efficientnet_lite2``, a safetensors file.

    Raises:
        InvalidOption: the file holds other weights.
    """
    network = GateNetwork()
    try:
        state = load_file(weights)
    except Exception as error:  # the library has no exception tree of its own
        raise InvalidOption(
            weights, f"is no safetensors file ({type(error).__name__})", "Name another file"
        ) from None
    own = network.state_dict()
    for name in [name for name in own if not name.endswith("num_batches_tracked")]:
        source = _timms(name)
        if source not in state or state[source].shape != own[name].shape:
            raise InvalidOption(
                weights, f"has no weights {source} as wanted", "Name tf_efficientnet_lite2's file"
            )
        own[name] = state[source]
    network.load_state_dict(own)
    return _onnx(network.eval())


def _timms(name: str) -> str:
    """What timm calls a weight of this network."""
    for own, timms in (
        ("stem.0.", "conv_stem."),
        ("stem.1.", "bn1."),
        ("fine.", "blocks."),
        ("deep.", "blocks.3."),
    ):
        if name.startswith(own):
            return timms + name.removeprefix(own)
    return name


def _onnx(network: nn.Module) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "network.onnx"
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.rand(2, 1, SIZE, SIZE),),
            path,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["knee"],
            output_names=["features"],
            dynamic_axes={"knee": {0: "N"}, "features": {0: "N"}},
        )
        model = onnx.load(path)
    store_half(model)
    content: bytes = model.SerializeToString()
    return content
