"""The graph of an ONNX file: nodes, weights, inputs; read without the onnx package.

Field numbers: onnx.proto3. Attributes of kinds that no operator of ours has are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.backends.protocol import TensorSpec
from vmruntime.errors import ArtifactError
from vmruntime.onnx_file import MODEL_GRAPH
from vmruntime.onnx_signature import read_signature
from vmruntime.protobuf import fields, integer, integers, no_model, text

__all__ = ["Graph", "Node", "read_graph"]

GRAPH_NODE, GRAPH_WEIGHT = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_TEXT, ATTRIBUTE_INTS = 1, 2, 3, 4, 8
ATTRIBUTE_KIND, KIND_FLOAT, KIND_INT, KIND_TEXT, KIND_INTS = 20, 1, 2, 3, 7
TENSOR_SIZE, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9

TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
"""ONNX's codes of element types, as numpy writes them."""


@dataclass(frozen=True)
class Node:
    """One operator.

    Parameters
    ----------
    operator
        Its name, with the domain in front where that is not ONNX's own: ``"vxm::Warp3d"``.
    inputs, outputs
        Names of tensors; ``""`` for an optional input that is left out.
    attributes
        Each an int, a float, a str or a tuple of int.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Graph:
    """Operators in the order in which they can run.

    Parameters
    ----------
    nodes
        The operators.
    weights
        Constant tensors by name.
    inputs, outputs
        The model's own.
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, NDArray[Any]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that computes a tensor; inputs and constants are not among them."""
        return {name: node for node in self.nodes for name in node.outputs}

    def needed_for(self, tensor: str, given: str | None = None) -> list[Node]:
        """The nodes that a tensor depends on, in order; not those before a `given` one."""
        wanted = {tensor}
        found = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.outputs) and given not in node.outputs:
                found.append(node)
                wanted.update(node.inputs)
        return found[::-1]


def read_graph(model: bytes) -> Graph:
    """Read the graph of a serialized ModelProto.

    Raises
    ------
    ArtifactError
        The bytes are no ONNX model.
    """
    nodes, weights = [], {}
    graph = next((content for n, _, content in fields(model) if n == MODEL_GRAPH), None)
    if graph is None:
        raise no_model()
    for number, _, content in fields(graph):
        if number == GRAPH_NODE:
            nodes.append(_node(content))
        elif number == GRAPH_WEIGHT:
            name, values = _tensor(content)
            weights[name] = values
    return Graph(tuple(nodes), weights, *read_signature(model))


def _node(message: bytes) -> Node:
    inputs, outputs, attributes = [], [], {}
    operator = domain = ""
    for number, _, content in fields(message):
        if number == NODE_INPUT:
            inputs.append(text(content))
        elif number == NODE_OUTPUT:
            outputs.append(text(content))
        elif number == NODE_OPERATOR:
            operator = text(content)
        elif number == NODE_DOMAIN:
            domain = text(content)
        elif number == NODE_ATTRIBUTE:
            name, value = _attribute(content)
            if value is not None:
                attributes[name] = value
    full = f"{domain}::{operator}" if domain else operator
    return Node(full, tuple(inputs), tuple(outputs), attributes)


def _attribute(message: bytes) -> tuple[str, Any]:
    name, kind = "", 0
    values: dict[int, Any] = {KIND_FLOAT: 0.0, KIND_INT: 0, KIND_TEXT: ""}
    several: list[int] = []
    for number, raw, content in fields(message):
        if number == ATTRIBUTE_NAME:
            name = text(content)
        elif number == ATTRIBUTE_KIND:
            kind = integer(content)
        elif number == ATTRIBUTE_FLOAT and len(content) == 4:
            values[KIND_FLOAT] = struct.unpack("<f", content)[0]
        elif number == ATTRIBUTE_INT:
            values[KIND_INT] = integer(content)
        elif number == ATTRIBUTE_TEXT:
            values[KIND_TEXT] = text(content)
        elif number == ATTRIBUTE_INTS:
            several += integers(raw, content)
    values[KIND_INTS] = tuple(several)
    return name, values.get(kind)


def _tensor(message: bytes) -> tuple[str, NDArray[Any]]:
    """Name and values of a weight; the exporter writes raw bytes, and so must anyone else."""
    name, kind, raw_values = "", 0, b""
    shape: list[int] = []
    for number, raw, content in fields(message):
        if number == TENSOR_SIZE:
            shape += integers(raw, content)
        elif number == TENSOR_TYPE:
            kind = integer(content)
        elif number == TENSOR_NAME:
            name = text(content)
        elif number == TENSOR_RAW:
            raw_values = content
    dtype = np.dtype(TYPES.get(kind, "V1"))
    size = int(np.prod(shape, dtype=object)) if min(shape, default=1) >= 0 else -1
    if kind not in TYPES or size * dtype.itemsize != len(raw_values):
        raise ArtifactError(
            f"the weight {name!r} cannot be read; make the file again with vm-export"
        )
    return name, np.frombuffer(raw_values, dtype).reshape(shape)
