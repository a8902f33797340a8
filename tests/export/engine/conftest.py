"""Small engines, built by TensorRT-RTX, which needs no GPU for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiny_networks import STRIDE, tiny_network
from vmexport.artifact import ExportOptions, export_artifact
from vmexport.engine.options import EngineOptions
from vmexport.engine.toolkit import Toolkit, find_toolkit
from vmruntime.artifact import Artifact


@pytest.fixture(scope="session")
def rtx() -> Toolkit:
    pytest.importorskip("tensorrt_rtx", reason="the rtx extra is not installed")
    return find_toolkit("rtx")


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """`tiny_network` as fp32, fp16 and, with a free grid, dynamic artifact."""
    folder = tmp_path_factory.mktemp("artifacts")
    made = {}
    for name, options in {
        "fp32": ExportOptions(),
        "fp16": ExportOptions(precision="fp16", max_error=0.2),
        "dynamic": ExportOptions(dynamic=True, stride=STRIDE),
    }.items():
        path: Path = folder / f"{name}.onnx"
        export_artifact(tiny_network(), path, options)
        made[name] = Artifact.read(path)
    return made


@pytest.fixture
def usual() -> Any:
    return EngineOptions(target="rtx")
