"""Reading the manifest in a plan of TensorRT or TensorRT-RTX, with no library and no GPU.

The builder stores the manifest as the network's name, and a plan keeps that name as plain text
behind its length (8 bytes, little-endian; seen in plans of TensorRT-RTX 1.7). The rest of the
format is not documented, so the text is searched for and checked, not reached by walking fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from vmruntime.errors import ArtifactError, ManifestError

__all__ = ["is_plan", "read_plan_manifest"]

MAGIC = (b"vtrt", b"ptrt", b"ftrt")
"""First bytes of a plan; the first of them is also that of TensorRT-RTX."""

SIZE_AT = {b"vtrt": 16}
"""Where a kind of plan says its own length (8 bytes, little-endian)."""

LARGEST_PLAN = 1 << 40
"""Bytes; a length beyond it is damage itself."""

OPENING = b'{"version":'
MAX_NAME = 4096
"""Bytes; what TensorRT keeps of a network's name."""

MAX_TRIES = 64
"""Weights are arbitrary bytes: a file that repeats the opening must not take minutes."""


def is_plan(content: bytes) -> bool:
    """Whether a file's bytes begin as a plan does."""
    return content.startswith(MAGIC)


def read_plan_manifest(plan: bytes) -> str:
    """The manifest's JSON in a plan's bytes.

    Raises
    ------
    ArtifactError
        The bytes are no plan, or an incomplete one.
    ManifestError
        The plan carries no manifest.
    """
    if not is_plan(plan):
        raise ArtifactError("is no TensorRT plan, or is damaged; make one with vm-export --engine")
    at = SIZE_AT.get(plan[:4])
    if at is not None:
        size = int.from_bytes(plan[at : at + 8], "little")
        if len(plan) < size or len(plan) < at + 8:
            told = len(plan) >= at + 8 and size <= LARGEST_PLAN
            raise ArtifactError(
                f"is a damaged plan: {len(plan)} bytes{f' instead of {size}' if told else ''}; "
                "copy the file again, or make it again with vm-export --engine"
            )
    found = [text for text, values in _candidates(plan) if "engine" in values]
    if not found:
        raise ManifestError(
            "is a TensorRT plan without a manifest, so its grid and intensities are unknown; "
            "build it from model.onnx with vm-export --engine"
        )
    return found[0]


def _candidates(plan: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON object that may be a manifest, with its text."""
    decoder = json.JSONDecoder()
    at = -1
    for _ in range(MAX_TRIES):
        at = plan.find(OPENING, at + 1)
        if at < 0:
            return
        window = plan[at : at + MAX_NAME].decode("utf-8", "replace")
        try:
            values, end = decoder.raw_decode(window)
        except (ValueError, RecursionError):
            continue
        yield window[:end], values
