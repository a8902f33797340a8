"""What an artifact says about itself: the versioned JSON that travels inside the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vmruntime.errors import ManifestError, one_line
from vmruntime.grid import Grid
from vmruntime.intensity import IntensityRule

__all__ = ["Manifest"]

MANIFEST_KEY = "vxm.manifest"
"""Key of the manifest in an ONNX file's ``metadata_props``."""

MAJOR, MINOR = 1, 0
VOXEL_SIZE_TOLERANCE = 0.01
"""Relative; resampling tools round voxel sizes to a few digits."""

# Nothing in this file is a network of that size; bounds keep hostile numbers out of arithmetic.
MAX_AXIS = 1 << 16


@dataclass(frozen=True)
class Manifest:
    """Contract between an artifact and whatever runs it.

    Parameters
    ----------
    shape
        Voxels of the model grid ``(D, H, W)``, or None where any multiple of `stride` will do.
    stride
        Every axis must be a multiple of this.
    orientation
        World direction that each array axis runs toward, such as ``"LIA"``.
    voxel_size
        Millimetres along each array axis.
    intensity
        Rule that brings scans to the model's range, as `IntensityRule.parse` reads it.
    moving_channels, fixed_channels
        Channels of the two inputs.
    diffeomorphic
        Whether the displacement is an integrated velocity, so that the inverse is there too.
    int_steps
        Squarings of the integration; 0 where the network gives the displacement itself.
    precision
        ``"fp32"``; ``"fp16"`` or ``"int8"``, or ``"mixed"``: float16 but for some layers. Of the
        U-Net only (inputs, outputs and the tail are float32); INT8 may leave layers float32 too.
    source
        Where it comes from: checkpoint layout and SHA-256.
    versions
        Versions of the packages that made it.
    verification
        What comparing the artifact with its source measured.
    engine
        What a plan was built as: target, version, precision, warp, compute capability, hash of its
        ONNX, whether a GPU has verified it. Empty for an ONNX model.
    """

    shape: tuple[int, int, int] | None
    stride: int
    orientation: str
    voxel_size: tuple[float, float, float]
    intensity: str
    diffeomorphic: bool
    int_steps: int
    precision: str
    moving_channels: int = 1
    fixed_channels: int = 1
    source: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    verification: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The manifest as plain values, with its version first; no engine where there is none."""
        values = {"version": f"{MAJOR}.{MINOR}", **asdict(self)}
        if not self.engine:
            del values["engine"]
        return values

    def to_json(self) -> str:
        """Compact JSON, as it is stored."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read and check a manifest.

        Fields that this version does not know are passed over: a newer minor version may add some.

        Raises
        ------
        ManifestError
            No JSON, a newer major version, a missing field or a value out of range.
        """
        try:
            values = json.loads(text)
            # Python reads more than JSON has: NaN, infinite numbers, halves of surrogate pairs.
            json.dumps(values, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise ManifestError(
                f"the manifest is not JSON ({one_line(error)}); export the model again"
            ) from None
        if not isinstance(values, dict):
            raise ManifestError("the manifest is not a JSON object; export the model again")
        _check_version(values.get("version"))
        return cls(
            shape=_shape(values.get("shape"), _integer(values, "stride", 1)),
            stride=_integer(values, "stride", 1),
            orientation=_orientation(values.get("orientation")),
            voxel_size=_voxel_size(values.get("voxel_size")),
            intensity=str(IntensityRule.parse(_text(values, "intensity"))),
            diffeomorphic=_flag(values, "diffeomorphic"),
            int_steps=_integer(values, "int_steps", 0),
            precision=_precision(values, "precision"),
            moving_channels=_integer(values, "moving_channels", 1),
            fixed_channels=_integer(values, "fixed_channels", 1),
            source=_mapping(values, "source"),
            versions=_mapping(values, "versions"),
            verification=_mapping(values, "verification"),
            engine=_engine(values) if "engine" in values else {},
        )

    def grid_differences(self, grid: Grid) -> list[str]:
        """How a scan's grid differs from the model's, one phrase each; empty where it fits."""
        differences = []
        size = " x ".join(map(str, grid.shape))
        if self.shape is not None and grid.shape != self.shape:
            differences.append(f"{size} voxels instead of {' x '.join(map(str, self.shape))}")
        elif any(n % self.stride for n in grid.shape):
            differences.append(f"{size} voxels, not multiples of {self.stride}")
        if grid.orientation != self.orientation:
            differences.append(f"orientation {grid.orientation} instead of {self.orientation}")
        pairs = zip(grid.voxel_size, self.voxel_size, strict=True)
        if any(abs(found - wanted) > VOXEL_SIZE_TOLERANCE * wanted for found, wanted in pairs):
            found, wanted = (
                " x ".join(f"{v:.4g}" for v in sizes)
                for sizes in (grid.voxel_size, self.voxel_size)
            )
            differences.append(f"voxels of {found} mm instead of {wanted} mm")
        return differences


def _check_version(version: Any) -> None:
    parts = version.split(".") if isinstance(version, str) else []
    # isascii: str.isdigit accepts digits that int() does not.
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and len(p) < 6 for p in parts):
        raise ManifestError(f"the manifest's version is {version!r}, not MAJOR.MINOR")
    if int(parts[0]) > MAJOR:
        raise ManifestError(
            f"the manifest has version {version}, this runtime reads up to {MAJOR}.x; "
            "update voxelmorph-deploy or export the model with this version"
        )
    if int(parts[0]) < 1:
        raise ManifestError(f"the manifest's version {version} was never released")


def _wrong(key: str, value: Any, expected: str) -> ManifestError:
    return ManifestError(
        f"the manifest's {key} is {str(value)[:60]!r}; {expected} was expected: "
        "export the model again"
    )


def _is_integer(value: Any, low: int, high: int = MAX_AXIS) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _integer(values: Mapping[str, Any], key: str, low: int) -> int:
    value = values.get(key)
    if not _is_integer(value, low):
        raise _wrong(key, value, f"a whole number of at least {low}")
    return int(values[key])


def _flag(values: Mapping[str, Any], key: str) -> bool:
    value = values.get(key)
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        raise _wrong(key, value, "a text")
    return value


def _mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    if not isinstance(value, dict):
        raise _wrong(key, value, "an object")
    return value


def _shape(value: Any, stride: int) -> tuple[int, int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3 or not all(_is_integer(n, 1) for n in value):
        raise _wrong("shape", value, "three sizes or null")
    if any(size % stride for size in value):
        raise _wrong("shape", value, f"multiples of the stride {stride}")
    return value[0], value[1], value[2]


def _orientation(value: Any) -> str:
    axes = {"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}
    if not isinstance(value, str) or sorted(axes.get(letter, 9) for letter in value) != [0, 1, 2]:
        raise _wrong("orientation", value, "three letters such as LIA")
    return value


def _voxel_size(value: Any) -> tuple[float, float, float]:
    def positive(size: Any) -> bool:
        return isinstance(size, int | float) and not isinstance(size, bool) and 1e-6 < size < 1e6

    if not isinstance(value, list) or len(value) != 3 or not all(positive(size) for size in value):
        raise _wrong("voxel_size", value, "three lengths in mm")
    return float(value[0]), float(value[1]), float(value[2])


def _precision(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if value not in ("fp32", "fp16", "mixed", "int8"):
        raise _wrong(key, value, "fp32, fp16, mixed or int8")
    return str(value)


def _engine(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the runtime decides by; the rest of the fields is for people."""
    engine = _mapping(values, "engine")
    if engine:
        if engine.get("target") not in ("tensorrt", "rtx"):
            raise _wrong("target", engine.get("target"), "tensorrt or rtx")
        _text(engine, "version")
        _flag(engine, "verified")
        _precision(engine, "precision")
        gpus = engine.get("compute_capability", [])
        if not isinstance(gpus, list) or not all(_is_integer(n, 10, 1000) for n in gpus):
            raise _wrong("compute_capability", gpus, "a list such as [86, 120]")
        shapes = engine.get("shapes", [[1, 1, 1]] * 3)
        if not isinstance(shapes, list) or len(shapes) != 3 or None in shapes:
            raise _wrong("shapes", shapes, "three sizes: smallest, usual, largest")
        for shape in shapes:
            _shape(shape, 1)
    return engine
