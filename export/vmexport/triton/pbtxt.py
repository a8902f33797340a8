"""Protocol buffers in their text form, as a ``config.pbtxt`` is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Symbol", "to_text"]

INDENT = "  "


@dataclass(frozen=True)
class Symbol:
    """A value of an enumeration, which stands without quotes."""

    name: str


def to_text(message: Mapping[str, Any]) -> str:
    """A message as text.

    Parameters
    ----------
    message
        Fields by name, in the order to write them. Values are ``str``, ``bool``, ``int``, `Symbol`,
        mappings (messages within), and sequences: of integers, or of messages, one after another.
    """
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Mapping[str, Any]) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield from _block(name, value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if all(isinstance(item, Mapping) for item in value):
                for item in value:
                    yield from _block(name, item)
            else:
                yield f"{name}: [{', '.join(map(_scalar, value))}]"
        else:
            yield f"{name}: {_scalar(value)}"


def _block(name: str, message: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name} {{"
    for line in _lines(message):
        yield INDENT + line
    yield "}"


def _scalar(value: Any) -> str:
    if isinstance(value, Symbol):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(int(value))


def _quoted(text: str) -> str:
    """A string in double quotes; bytes outside of printable ASCII in octal."""
    marks = {ord('"'): '\\"', ord("\\"): "\\\\"}
    written = (
        marks.get(byte, chr(byte)) if 32 <= byte < 127 else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{"".join(written)}"'
