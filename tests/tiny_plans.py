"""Real TensorRT-RTX plans of tiny models, built without a GPU."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from vmruntime import Artifact, Manifest

__all__ = ["engine_of", "plan_of", "rtx_plan"]


def engine_of(artifact: Artifact, **changes: Any) -> dict[str, Any]:
    """The engine part of a plan's manifest."""
    return {
        "target": "rtx",
        "version": rtx().__version__,
        "precision": artifact.manifest.precision,
        "warp": "native",
        "compute_capability": [86],
        "onnx_sha256": hashlib.sha256(artifact.model).hexdigest(),
        "verified": False,
        **changes,
    }


def plan_of(artifact: Artifact, capability: str = "SM86", **changes: Any) -> bytes:
    """A plan of an ONNX artifact, with its manifest."""
    manifest: Manifest = replace(artifact.manifest, engine=engine_of(artifact, **changes))
    return rtx_plan(artifact.model, manifest.to_json(), capability)


def rtx_plan(model: bytes, name: str, capability: str = "SM86") -> bytes:
    """What TensorRT-RTX builds of an ONNX model whose network gets a name."""
    library = rtx()
    logger = library.Logger(library.Logger.ERROR)
    builder = library.Builder(logger)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, logger)
    assert parser.parse(model), [str(parser.get_error(n)) for n in range(parser.num_errors)]
    network.name = name
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(library.ComputeCapability.__members__[capability], 0)
    return bytes(builder.build_serialized_network(network, config))


def rtx() -> Any:
    """TensorRT-RTX; the test is skipped where it is not installed."""
    return pytest.importorskip("tensorrt_rtx", reason="the rtx extra is not installed")
