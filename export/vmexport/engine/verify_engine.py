"""Checking an engine against onnxruntime, on the GPU that it is for.

Unverified: written without a GPU at hand, and never run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vmexport.engine.build import BuiltEngine
from vmexport.errors import EngineBuildError
from vmexport.verification import Limits, Pair, compare, run_backend
from vmruntime.artifact import Artifact
from vmruntime.backends import open_backend
from vmruntime.cuda.probe import probe

__all__ = ["SPARE_BYTES", "as_verified", "verify_engine", "why_unverified"]

SPARE_BYTES = 1200
"""What the measured figures take in the manifest, at most."""


def why_unverified(gpus: tuple[int, ...]) -> str:
    """Why a plan for these GPUs cannot be checked here, in one phrase; empty where it can."""
    found = probe()
    if not found.devices:
        return found.reason
    major, minor = found.devices[0].compute_capability
    if gpus and 10 * major + minor not in gpus:
        return f"the GPU here has compute capability {major}.{minor}, which it is not built for"
    return ""


def verify_engine(artifact: Artifact, plan: Path, pair: Pair, limits: Limits) -> dict[str, Any]:
    """Run an engine and its ONNX on one pair, and compare.

    Parameters
    ----------
    artifact
        The ONNX that the engine was built from; onnxruntime runs it on the CPU.
    plan
        The engine's file.
    pair
        The scans.
    limits
        What the displacements may differ by.

    Returns
    -------
    dict
        As `compare` gives it.

    Raises
    ------
    VerificationError
        A displacement is over its limit.
    BackendError
        The engine does not load or run.
    """
    outputs = []
    for file, device in ((artifact, "cpu"), (Artifact.read(plan), "cuda")):
        name = "onnxruntime" if device == "cpu" else "auto"
        backend = open_backend(file, name, device)
        try:
            outputs.append(run_backend(backend, pair))
            engine = f"{backend.name} {backend.version} {backend.device}"
        finally:
            backend.close()
    return compare(
        outputs[0], outputs[1], pair, artifact.manifest.voxel_size, limits,
        engine=engine, source="ONNX model",
    )  # fmt: skip


def as_verified(built: BuiltEngine, report: dict[str, Any]) -> BuiltEngine:
    """The same engine, whose manifest says what verifying it measured.

    The manifest is the network's name, which cannot be changed without building again, and then
    other kernels may be chosen than those that were checked. So the text is replaced in the plan's
    bytes, by one of the same length; the caller loads the plan once more.

    Parameters
    ----------
    built
        Built with `SPARE_BYTES` to spare.
    report
        From `verify_engine`.
    """
    engine = {**built.manifest.engine, "verified": True, "verification": report}
    manifest = replace(built.manifest, engine=engine)
    old, new = built.manifest.to_json().encode(), manifest.to_json().encode()
    before = old + b" " * (len(new) - len(old))
    if built.plan.count(before) != 1:
        raise EngineBuildError(
            f"the plan has no place for the {len(new)} bytes of its verified manifest; "
            "export the model again with shorter names of files"
        )
    return replace(built, plan=built.plan.replace(before, new), manifest=manifest)
