"""Inputs and outputs of an ONNX file, without the onnx package and without an engine."""

from __future__ import annotations

from vmruntime.backends.protocol import TensorSpec
from vmruntime.protobuf import fields, integer, text

__all__ = ["read_signature"]

# Field numbers: onnx.proto3.
MODEL_GRAPH = 7
GRAPH_INPUT, GRAPH_OUTPUT = 11, 12
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR = 1
TENSOR_ELEMENT, TENSOR_SHAPE = 1, 2
SHAPE_AXIS = 1
AXIS_SIZE = 1

ELEMENTS = {1: "float", 6: "int32", 7: "int64", 10: "float16", 11: "double", 16: "bfloat16"}
"""TensorProto.DataType, by the names that onnxruntime uses; a model of ours has the first only."""


def read_signature(model: bytes) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a serialized ModelProto.

    Raises
    ------
    ArtifactError
        The bytes are no ONNX model.
    """
    inputs, outputs = [], []
    for number, _, graph in fields(model):
        if number == MODEL_GRAPH:
            for inner, _, value in fields(graph):
                if inner == GRAPH_INPUT:
                    inputs.append(_tensor(value))
                elif inner == GRAPH_OUTPUT:
                    outputs.append(_tensor(value))
    return tuple(inputs), tuple(outputs)


def _tensor(value_info: bytes) -> TensorSpec:
    name, element, axes = "", 0, b""
    for number, _, content in fields(value_info):
        if number == VALUE_NAME:
            name = text(content)
        elif number == VALUE_TYPE:
            for kind, _, tensor in fields(content):
                if kind == TYPE_TENSOR:
                    parts = {n: part for n, _, part in fields(tensor)}
                    element = integer(parts.get(TENSOR_ELEMENT, b"\0"))
                    axes = parts.get(TENSOR_SHAPE, b"")
    shape = tuple(_size(axis) for number, _, axis in fields(axes) if number == SHAPE_AXIS)
    return TensorSpec(name, ELEMENTS.get(element, f"type {element}"), shape)


def _size(axis: bytes) -> int | None:
    sizes = [integer(content) for number, _, content in fields(axis) if number == AXIS_SIZE]
    return sizes[0] if sizes else None
