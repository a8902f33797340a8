"""Reading metadata from an ONNX file, and choosing its outputs, without the onnx package.

Two things are wanted of the file's outer layers only: the manifest among its ``metadata_props``,
and a copy with fewer outputs, since onnxruntime computes every output of a model even where one
was asked for. Both need a walk over protobuf fields (numbers: onnx.proto3), not 20 MB of
dependencies in the runtime.
"""

from __future__ import annotations

from collections.abc import Collection

from vmruntime.protobuf import BYTES, fields, no_model, text, varint

__all__ = ["read_metadata", "select_outputs"]

MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_OUTPUT = 12
VALUE_NAME = 1
ENTRY_KEY, ENTRY_VALUE = 1, 2


def read_metadata(model: bytes) -> dict[str, str]:
    """The ``metadata_props`` of a serialized ModelProto.

    Raises
    ------
    ArtifactError
        The bytes are no ONNX model.
    """
    metadata = {}
    has_graph = False
    for number, _, content in fields(model):
        has_graph |= number == MODEL_GRAPH
        if number == MODEL_METADATA:
            entry = {n: value for n, _, value in fields(content)}
            key, value = entry.get(ENTRY_KEY, b""), entry.get(ENTRY_VALUE, b"")
            metadata[text(key)] = text(value)
    if not has_graph:
        raise no_model()
    return metadata


def select_outputs(model: bytes, names: Collection[str]) -> bytes:
    """A copy of a serialized ModelProto whose graph gives only the named outputs.

    Raises
    ------
    ArtifactError
        The bytes are no ONNX model.
    """
    result = bytearray()
    for number, raw, graph in fields(model):
        if number != MODEL_GRAPH:
            result += raw
            continue
        kept = bytearray()
        for inner, inner_raw, value in fields(graph):
            if inner != GRAPH_OUTPUT or _value_name(value) in names:
                kept += inner_raw
        result += varint(MODEL_GRAPH << 3 | BYTES) + varint(len(kept)) + kept
    return bytes(result)


def _value_name(value_info: bytes) -> str:
    return next((text(value) for n, _, value in fields(value_info) if n == VALUE_NAME), "")
