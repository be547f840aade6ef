"""What an ONNX file is made of, read from its bytes before a runtime opens it.

A runtime follows whatever a graph says: it opens files beside it where a tensor names one, runs
loops that never end, and loads operators of other makers. So the graph is looked through first, by
the few rules of its encoding (protocol buffers), and only what networks of this package are made
of may pass. Needs no onnx package, which grading does not install.
"""

from __future__ import annotations

from collections.abc import Iterator

_NAMES = """
    Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv
    DequantizeLinear Div Dropout Equal Erf Exp Expand Flatten Floor Gather GatherElements
    GatherND Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity
    LayerNormalization LeakyRelu Log MatMul Max MaxPool Mean Min Mul Neg Pad Pow PRelu
    QuantizeLinear Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize
    Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile Transpose
    Unsqueeze Where
"""
OPERATORS = frozenset(_NAMES.split())
"""Plain sums, products, roundings, changes of shape. No control flow, no chance, no sequences."""

_DOMAINS = (b"", b"ai.onnx")
_MOST_PARTS = 1_000_000
"""Of a graph; one of two thousand nodes has some twenty thousand."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 8, 20, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_DOMAIN, _NODE_ATTRIBUTE = 4, 7, 5
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_OPSET_DOMAIN = 1


def check_graph(model: bytes) -> None:
    """Look through an ONNX file.

    Args:
        model: its content.

    Raises:
        ValueError: it is no ONNX graph; a tensor keeps its values in another file; it has a
            subgraph, functions, sparse tensors, an operator that is not among `OPERATORS`, or one
            of another domain. The message is one clause that says which.
    """
    graphs = 0
    parts = _Parts(model)
    for number, start, end in parts.of(0, len(model)):
        if number == _MODEL_GRAPH:
            graphs += 1
            _check_nodes(parts, start, end)
        elif number == _MODEL_OPSET:
            _check_opset(parts, start, end)
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTION):
            raise ValueError("it holds functions or training steps")
    if graphs != 1:
        raise ValueError(f"it holds {graphs} ONNX graphs, one should be there")


class _Parts:
    """The parts of a message: their numbers, and where their bytes lie."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._left = _MOST_PARTS

    def of(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, first and last byte of each part of the message that lies there."""
        at = start
        while at < end:
            self._left -= 1
            if not self._left:
                raise ValueError(f"it has over {_MOST_PARTS} parts")
            key, at = self._varint(at, end)
            kind, first = key & 7, at
            if kind == _VARINT:
                _, at = self._varint(at, end)
            elif kind == _BYTES:
                size, first = self._varint(at, end)
                at = first + size
            elif kind in (_FIXED32, _FIXED64):
                at += 4 if kind == _FIXED32 else 8
            else:
                raise ValueError("no ONNX file")
            if at > end:
                raise ValueError("no whole ONNX file")
            yield key >> 3, first, at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A whole number of seven bits a byte, and where it ends."""
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError("no whole ONNX file")
            byte = self.content[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
        raise ValueError("no ONNX file")


def _check_nodes(parts: _Parts, start: int, end: int) -> None:
    for number, first, last in parts.of(start, end):
        if number == _GRAPH_NODE:
            _check_node(parts, first, last)
        elif number == _GRAPH_TENSOR:
            _check_tensor(parts, first, last)
        elif number == _GRAPH_SPARSE:
            raise ValueError("it holds sparse tensors")


def _check_node(parts: _Parts, start: int, end: int) -> None:
    for number, first, last in parts.of(start, end):
        if number == _NODE_ATTRIBUTE:
            _check_attribute(parts, first, last)
        elif number == _NODE_OPERATOR:
            name = parts.content[first:last].decode("utf-8", "replace")
            if name not in OPERATORS:
                raise ValueError(f"its operator {name!r:.60} is none that networks here have")
        elif number == _NODE_DOMAIN:
            _check_domain(parts.content[first:last])


def _check_attribute(parts: _Parts, start: int, end: int) -> None:
    for number, first, last in parts.of(start, end):
        if number in _ATTRIBUTE_TENSORS:
            _check_tensor(parts, first, last)
        elif number in _ATTRIBUTE_GRAPHS:
            raise ValueError("it holds a graph inside a graph, as loops and branches do")
        elif number in _ATTRIBUTE_SPARSE:
            raise ValueError("it holds sparse tensors")


def _check_tensor(parts: _Parts, start: int, end: int) -> None:
    for number, first, last in parts.of(start, end):
        outside = number == _TENSOR_LOCATION and any(parts.content[first:last])
        if outside or number == _TENSOR_EXTERNAL:
            raise ValueError("a tensor keeps its values in another file, which no checksum covers")


def _check_opset(parts: _Parts, start: int, end: int) -> None:
    for number, first, last in parts.of(start, end):
        if number == _OPSET_DOMAIN:
            _check_domain(parts.content[first:last])


def _check_domain(domain: bytes) -> None:
    if domain not in _DOMAINS:
        name = domain.decode("utf-8", "replace")
        raise ValueError(f"its operators of {name!r:.60} are none that networks here have")
