"""Artifacts to serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_networks import SHAPE, STRIDE, tiny_network
from tiny_plans import plan_of
from vmexport.artifact import ExportOptions, export_artifact
from vmruntime import Artifact


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``model.onnx`` of tiny networks, by what is special about them."""
    folder = tmp_path_factory.mktemp("models")
    made = {
        "plain": (tiny_network(int_steps=0), ExportOptions(shape=SHAPE)),
        "half": (tiny_network(), ExportOptions(shape=SHAPE, precision="fp16", max_error=0.2)),
        "free": (tiny_network(), ExportOptions(shape=SHAPE, dynamic=True)),
        "channels": (tiny_network(channels=(2, 3)), ExportOptions(shape=SHAPE)),
    }
    paths = {name: folder / f"{name}.onnx" for name in made}
    for name, (network, options) in made.items():
        assert network.stride == STRIDE
        export_artifact(network, paths[name], options)
    return paths


@pytest.fixture(scope="session")
def plans(models: dict[str, Path]) -> dict[str, Path]:
    """Real plans of TensorRT-RTX; of one, the manifest says that TensorRT had built it."""
    artifact = Artifact.read(models["half"])
    paths = {}
    for target in ("rtx", "tensorrt"):
        paths[target] = models["half"].with_name(f"{target}.plan")
        paths[target].write_bytes(plan_of(artifact, target=target, version="10.13.0.35"))
    return paths
