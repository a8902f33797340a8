"""A precision plan: which layer of a U-Net is computed in which number format.

``vm-calibrate`` writes it, ``vm-export --precision-plan`` follows it. The tail is not in it:
inputs, outputs, resize, integration and warp stay float32 whatever a plan says.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmexport.errors import ExportError
from vmruntime.errors import one_line

__all__ = ["PrecisionPlan"]

FORMAT = "vm-precision-plan"
MAJOR, MINOR = 1, 0
LOWER = ("fp16", "int8")


@dataclass(frozen=True)
class PrecisionPlan:
    """The number format of each layer.

    Parameters
    ----------
    lower
        ``"fp16"`` or ``"int8"``: what the layers are in that are not kept.
    layers
        ``"fp32"`` or `lower` for every layer of the U-Net, by its name.
    thresholds
        For each INT8 layer the absolute value of its input that becomes 127.
    p99_voxels, max_voxels
        Largest displacement error against float32 that the plan was made for, for 99 % of the
        voxels and anywhere; None for the usual limits of `precision`.
    model
        Names of the source and hashes, for people.
    """

    lower: str
    layers: Mapping[str, str]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    p99_voxels: float | None = None
    max_voxels: float | None = None
    model: Mapping[str, str] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """What the manifest calls it: ``"fp32"``, ``"fp16"``, ``"mixed"`` or ``"int8"``."""
        lowered = [name for name, kind in self.layers.items() if kind != "fp32"]
        if not lowered:
            return "fp32"
        if self.lower == "int8":
            return "int8"
        return "fp16" if len(lowered) == len(self.layers) else "mixed"

    @property
    def kept(self) -> tuple[str, ...]:
        """The layers that stay in float32."""
        return tuple(name for name, kind in self.layers.items() if kind == "fp32")

    def to_json(self) -> str:
        """The plan's file."""
        values = {
            "format": FORMAT,
            "version": f"{MAJOR}.{MINOR}",
            "lower": self.lower,
            "precision": self.precision,
            "layers": dict(self.layers),
            "thresholds": dict(self.thresholds),
            "limits": {"p99_voxels": self.p99_voxels, "max_voxels": self.max_voxels},
            "model": dict(self.model),
        }
        return json.dumps(values, indent=2, allow_nan=False) + "\n"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> PrecisionPlan:
        """Read a plan's file.

        Raises
        ------
        ExportError
            It cannot be read, or is no plan.
        """
        name = os.fspath(path)
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise ExportError(f"{name}: cannot be read ({error.strerror})") from error
        try:
            return cls.from_json(text)
        except ExportError as error:
            raise ExportError(f"{name}: {error}") from None

    @classmethod
    def from_json(cls, text: str | bytes) -> PrecisionPlan:
        """Read and check a plan.

        Raises
        ------
        ExportError
            It is no plan, or of a newer major version.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ExportError(f"is no JSON ({one_line(error)}); {REMEDY}") from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ExportError(f"is no precision plan; {REMEDY}")
        version = str(values.get("version"))
        if version.partition(".")[0] != str(MAJOR):
            raise ExportError(
                f"is a plan of version {version[:20]}, this version reads {MAJOR}.x; {REMEDY}"
            )
        lower = values.get("lower")
        if lower not in LOWER:
            raise _wrong("lower", lower, "fp16 or int8")
        layers = _table(values, "layers")
        for name, kind in layers.items():
            if kind not in ("fp32", lower):
                raise _wrong(f"layer {name}", kind, f"fp32 or {lower}")
        thresholds = _table(values, "thresholds")
        for name, value in thresholds.items():
            if not _is_positive(value):
                raise _wrong(f"threshold of {name}", value, "a positive number")
        if lower == "int8":
            missing = [n for n, kind in layers.items() if kind == "int8" and n not in thresholds]
            if missing:
                raise _wrong(f"threshold of {missing[0]}", None, "a positive number")
        limits = _table(values, "limits") if "limits" in values else {}
        for key, value in limits.items():
            if value is not None and not _is_positive(value):
                raise _wrong(key, value, "a positive number")
        return cls(
            lower=lower,
            layers=layers,
            thresholds={name: float(value) for name, value in thresholds.items()},
            p99_voxels=limits.get("p99_voxels"),
            max_voxels=limits.get("max_voxels"),
            model=_table(values, "model") if "model" in values else {},
        )


REMEDY = "vm-calibrate makes one"


def _table(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = values.get(key)
    if not isinstance(table, dict):
        raise _wrong(key, table, "an object")
    return table


def _is_positive(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value < 1e30
        and math.isfinite(value)
    )


def _wrong(key: str, value: Any, expected: str) -> ExportError:
    return ExportError(f"its {key} is {str(value)[:60]!r}, not {expected}; {REMEDY}")
