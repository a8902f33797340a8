"""Whether an artifact does on this machine what it should, tried on a phantom pair.

An ONNX model is run by onnxruntime and its warp is held against this package's own. A plan is run
on the GPU and held against onnxruntime with the ONNX model that it was built from, within the
limits of the export.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.artifact import Artifact
from vmruntime.backends import Backend, open_backend
from vmruntime.errors import ArtifactError
from vmruntime.phantom import phantom_heads
from vmruntime.quality import Agreement, agreement
from vmruntime.warp import warp_linear

__all__ = ["check", "compare", "find_onnx"]

LIMITS = {"fp32": (1e-3, None), "fp16": (0.1, 0.02), "mixed": (0.1, 0.02), "int8": (0.5, 0.1)}
"""Voxels that displacements may differ by: anywhere, and for 99 % of the voxels; as vm-export's."""

WARP_LIMIT = 1e-4
"""Of the intensity range, between two linear interpolations in float32."""

MANY = 16
"""ONNX files beside a plan that are looked at; a folder of a thousand models is not searched."""

Fields = Mapping[str, NDArray[np.float32]]


def check(
    artifact: Artifact,
    *,
    onnx: str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> dict[str, Any]:
    """Try an artifact on a phantom pair.

    Parameters
    ----------
    artifact
        The file.
    onnx
        For a plan: the ONNX model that it was built from; None to look for it beside the plan.
    device
        For a plan: the GPU.
    threads
        Threads of onnxruntime; None for all cores.

    Returns
    -------
    dict
        The pair, the engine and what was measured; see `compare` for a plan.

    Raises
    ------
    ArtifactError
        The file does not do what it should, or the ONNX model of a plan is not there.
    BackendUnavailableError
        A plan, and no GPU.
    BackendError
        An engine failed.
    """
    if artifact.kind == "onnx":
        return _check_onnx(artifact, threads)
    engine = open_backend(artifact, "auto", device)
    try:
        reference = open_backend(
            Artifact.read(find_onnx(artifact, onnx)), "onnxruntime", "cpu", threads
        )
        try:
            return compare(reference, engine, artifact)
        finally:
            reference.close()
    finally:
        engine.close()


def find_onnx(plan: Artifact, given: str | os.PathLike[str] | None = None) -> Path:
    """The ONNX model that a plan was built from, by its hash.

    Parameters
    ----------
    plan
        The plan.
    given
        The file; None for one beside the plan.

    Raises
    ------
    ArtifactError
        It is not there, or is another one.
    """
    wanted = plan.manifest.engine.get("onnx_sha256")
    if given is not None:
        if _sha256(Path(given)) != wanted:
            raise ArtifactError(
                f"{os.fspath(given)} is not the model that {plan.path} was built from (its hash "
                "differs); give that one, or build the plan again"
            )
        return Path(given)
    beside = [plan.path.with_suffix(".onnx"), *sorted(plan.path.parent.glob("*.onnx"))[:MANY]]
    for path in beside:
        if path.is_file() and _sha256(path) == wanted:
            return path
    raise ArtifactError(
        f"{plan.path}: the ONNX model that it was built from is not beside it, which the plan is "
        "compared with; give it with --onnx"
    )


def compare(reference: Backend, engine: Backend, artifact: Artifact) -> dict[str, Any]:
    """Run a phantom pair in two engines, and hold the second one against the first.

    Parameters
    ----------
    reference, engine
        The engines, loaded.
    artifact
        What `engine` runs: its manifest says grid and precision.

    Returns
    -------
    dict
        Pair, engine, limits, error of each displacement (`Agreement`), largest difference of the
        moved scan: as the manifest's verification.

    Raises
    ------
    ArtifactError
        A displacement differs by more than the limit.
    """
    feeds = _feeds(artifact)
    expected = _fields(reference, feeds)
    found = _fields(engine, feeds)
    largest, p99 = LIMITS[engine.precision]
    report: dict[str, Any] = {
        "pair": "phantom",
        "engine": f"{engine.name} {engine.version} {engine.device}",
        "reference": f"{reference.name} {reference.version} {reference.device}",
        "limits": {"max": largest, "p99": p99},
    }
    for name in sorted(expected.keys() - {"moved"}):
        error = agreement(expected[name], found[name], artifact.manifest.voxel_size)
        _require(artifact, name, error, largest, p99)
        report[name] = {
            key: _short(value) if isinstance(value, float) else list(value)
            for key, value in asdict(error).items()
        }
    report["moved_max"] = _short(np.abs(found["moved"] - expected["moved"]).max())
    return report


def _check_onnx(artifact: Artifact, threads: int | None) -> dict[str, Any]:
    feeds = _feeds(artifact)
    backend = open_backend(artifact, "onnxruntime", "cpu", threads)
    try:
        found = _fields(backend, feeds)
    finally:
        backend.close()
    for name, field in found.items():
        if not np.isfinite(field).all():
            raise ArtifactError(
                f"{artifact.path}: its {name} is not finite on a phantom pair; do not use it, "
                "export the model again"
            )
    displacement = found["displacement"]
    warped = np.stack([warp_linear(channel, displacement) for channel in feeds["moving"][0]])
    error = float(np.abs(warped - found["moved"]).max())
    if not error <= WARP_LIMIT * float(np.ptp(feeds["moving"])):
        raise ArtifactError(
            f"{artifact.path}: its moved scan is not the moving scan under its displacement (they "
            f"differ by {error:.3g}); do not use it, export the model again"
        )
    report: dict[str, Any] = {
        "pair": "phantom",
        "engine": f"{backend.name} {backend.version} {backend.device}",
        "displacement_max": _short(np.abs(displacement).max()),
        "warp_error": _short(error),
    }
    if "inverse_displacement" in found:
        back = np.stack([warp_linear(axis, displacement) for axis in found["inverse_displacement"]])
        rest = np.sqrt(np.square(displacement + back).sum(0))
        report["inverse_error"] = {"mean": _short(rest.mean()), "max": _short(rest.max())}
    return report


def _feeds(artifact: Artifact) -> dict[str, NDArray[np.float32]]:
    """A phantom pair on the model's grid; on any that a free model takes."""
    manifest = artifact.manifest
    shape = manifest.shape
    if shape is None:
        tuned = manifest.engine.get("shapes")  # smallest, most usual, largest
        free = tuned[1] if tuned else [manifest.stride * factor for factor in (2, 3, 4)]
        shape = (int(free[0]), int(free[1]), int(free[2]))
    heads = phantom_heads(shape, (manifest.moving_channels, manifest.fixed_channels))
    return {name: scan[None] for name, (scan, _) in zip(("moving", "fixed"), heads, strict=True)}


def _fields(backend: Backend, feeds: Fields) -> dict[str, NDArray[np.float32]]:
    names = [spec.name for spec in backend.outputs]
    return {name: array[0] for name, array in backend.run(feeds, names).items()}


def _require(
    artifact: Artifact, name: str, found: Agreement, largest: float, p99: float | None
) -> None:
    for what, limit, value in (("max", largest, found.max), ("p99", p99, found.p99)):
        # "not <=" so that NaN fails.
        if limit is not None and not value <= limit:
            raise ArtifactError(
                f"{artifact.path}: its {name} differs from onnxruntime's by {value:.3g} voxel "
                f"({what}, worst at {found.where}), the limit is {limit:g}; do not use it, build "
                "it again with another --warp or --precision fp32"
            )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error


def _short(value: float) -> float:
    return float(f"{value:.4g}")
