"""The fields of a serialized protobuf message (encoding: protobuf.dev, "Encoding")."""

from __future__ import annotations

from collections.abc import Iterator

from vmruntime.errors import ArtifactError

__all__ = ["BYTES", "fields", "integer", "integers", "no_model", "text", "varint"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, raw bytes (tag included) and content of each field of a message.

    Raises
    ------
    ArtifactError
        The bytes are no message.
    """
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
            raise no_model()
        if at > len(message) or tag >> 3 == 0:
            raise no_model()
        yield tag >> 3, message[start:at], message[begin:at]


def integer(content: bytes) -> int:
    """A field's content as a signed number."""
    value, _ = _read_varint(content, 0)
    return value - (1 << 64) if value >= 1 << 63 else value


def integers(raw: bytes, content: bytes) -> list[int]:
    """Signed numbers of one occurrence of a repeated field, packed or not."""
    if raw[0] & 7 != BYTES:
        return [integer(content)]
    values, at = [], 0
    while at < len(content):
        value, at = _read_varint(content, at)
        values.append(value - (1 << 64) if value >= 1 << 63 else value)
    return values


def varint(value: int) -> bytes:
    """A number that is not negative, encoded."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def text(content: bytes) -> str:
    """A field's content as text."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise no_model() from None


def no_model() -> ArtifactError:
    """What to raise where bytes are not what they should be."""
    return ArtifactError("is not an ONNX model, or is damaged; make one with vm-export")


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
    raise no_model()
