"""What TensorRT says while it builds, kept instead of printed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vmruntime.errors import one_line

__all__ = ["BuilderLog", "collecting"]

ACTIVATIONS = re.compile(r"Total Activation Memory: (\d+) bytes")

# What its messages begin with: function, error code, and the place in NVIDIA's sources.
CLUTTER = (
    re.compile(r"^\S+: Error Code \d+: "),
    re.compile(r"\(?\bIn \S+ at [^\s)]+\)?"),
    re.compile(r"\[?\w+\.cpp:\d+: \w+\] "),
)


@dataclass
class BuilderLog:
    """The messages of one build.

    Attributes
    ----------
    errors, warnings
        In the order in which they came, each once.
    activation_bytes
        Device memory for intermediate tensors, where the builder said it.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    activation_bytes: int | None = None

    def add(self, severity: str, message: str) -> None:
        """Keep one message, by the name of its severity."""
        found = ACTIVATIONS.search(message)
        if found:
            self.activation_bytes = int(found[1])
        kept = {"ERROR": self.errors, "INTERNAL_ERROR": self.errors, "WARNING": self.warnings}
        messages = kept.get(severity)
        if messages is not None and message not in messages:
            messages.append(message)

    def reason(self) -> str:
        """The first error in one line; the rest are usually what followed from it."""
        if not self.errors:
            return "it gave no reason"
        text = self.errors[0]
        for clutter in CLUTTER:
            text = clutter.sub("", text)
        return one_line(RuntimeError(_balanced(text.strip())))


def _balanced(text: str) -> str:
    """A text without closing brackets too many at its end, or with those that are missing."""
    missing = text.count("(") - text.count(")")
    excess = min(-missing, len(text) - len(text.rstrip(")")))
    return text + ")" * missing if missing > 0 else text[: len(text) - excess]


class _Relay:
    """Where the one logger of a toolkit sends its messages now."""

    def __init__(self) -> None:
        self.log = BuilderLog()
        self.building = threading.Lock()


_RELAYS: dict[str, tuple[Any, _Relay]] = {}
"""By module name: TensorRT keeps the first logger that it is given for the whole process, so there
is one, and it lives as long."""


@contextmanager
def collecting(trt: Any) -> Iterator[tuple[Any, BuilderLog]]:
    """A logger for TensorRT's objects, and what it is told during the block.

    One build at a time: a second thread waits here.

    Parameters
    ----------
    trt
        The module ``tensorrt`` or ``tensorrt_rtx``.
    """
    if trt.__name__ not in _RELAYS:
        relay = _Relay()
        _RELAYS[trt.__name__] = (_logger(trt, relay), relay)
    logger, relay = _RELAYS[trt.__name__]
    with relay.building:
        relay.log = BuilderLog()
        yield logger, relay.log


def _logger(trt: Any, relay: _Relay) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]  # a base that is known only at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            relay.log.add(severity.name, msg)

    return Logger()
