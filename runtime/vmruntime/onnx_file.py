"""Reading metadata from an ONNX file, and choosing its outputs, without the onnx package.

Two things are wanted of the file's outer layers only: the manifest among its ``metadata_props``,
and a copy with fewer outputs, since onnxruntime computes every output of a model even where one
was asked for. Both need a walk over protobuf fields (encoding: protobuf.dev, "Encoding"; field
numbers: onnx.proto3), not 20 MB of dependencies in the runtime.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vmruntime.errors import ArtifactError

__all__ = ["read_metadata", "select_outputs"]

MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_OUTPUT = 12
VALUE_NAME = 1
ENTRY_KEY, ENTRY_VALUE = 1, 2

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_metadata(model: bytes) -> dict[str, str]:
    """The ``metadata_props`` of a serialized ModelProto.

    Raises
    ------
    ArtifactError
        The bytes are no ONNX model.
    """
    metadata = {}
    has_graph = False
    for number, _, content in _fields(model):
        has_graph |= number == MODEL_GRAPH
        if number == MODEL_METADATA:
            entry = {n: value for n, _, value in _fields(content)}
            key, value = entry.get(ENTRY_KEY, b""), entry.get(ENTRY_VALUE, b"")
            metadata[_text(key)] = _text(value)
    if not has_graph:
        raise _no_model()
    return metadata


def select_outputs(model: bytes, names: Collection[str]) -> bytes:
    """A copy of a serialized ModelProto whose graph gives only the named outputs.

    Raises
    ------
    ArtifactError
        The bytes are no ONNX model.
    """
    result = bytearray()
    for number, raw, graph in _fields(model):
        if number != MODEL_GRAPH:
            result += raw
            continue
        kept = bytearray()
        for inner, inner_raw, value in _fields(graph):
            if inner != GRAPH_OUTPUT or _value_name(value) in names:
                kept += inner_raw
        result += _varint(MODEL_GRAPH << 3 | BYTES) + _varint(len(kept)) + kept
    return bytes(result)


def _value_name(value_info: bytes) -> str:
    return next((_text(value) for n, _, value in _fields(value_info) if n == VALUE_NAME), "")


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, raw bytes (tag included) and content of each field of a message."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == VARINT:
            begin = at
            _, at = _read_varint(message, at)
        elif kind == BYTES:
            size, begin = _read_varint(message, at)
            at = begin + size
        elif kind in (FIXED64, FIXED32):
            begin, at = at, at + (8 if kind == FIXED64 else 4)
        else:
            raise _no_model()
        if at > len(message) or tag >> 3 == 0:
            raise _no_model()
        yield tag >> 3, message[start:at], message[begin:at]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _no_model()


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _no_model() from None


def _no_model() -> ArtifactError:
    return ArtifactError("is not an ONNX model, or is damaged; make one with vm-export")
