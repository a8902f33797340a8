"""Small models and pairs for calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from synthetic_scans import MODEL_SHAPE
from vmcalibration.options import CalibrationOptions
from vmcalibration.pairs import PairFiles
from vmexport.artifact import ExportOptions, export_artifact
from vmruntime import Manifest

SCALE = 2.0**20
"""Weights of `tiny_network` stay below 65504 with this, what it computes does not."""

LARGE, NEXT = "decoder.3.0", "remaining.0"
"""The layer whose result is made too large, and the one that reads it."""

QUICK = CalibrationOptions(repeats=1, threads=2)


@pytest.fixture(scope="session")
def model(tiny_artifact: Path) -> onnx.ModelProto:
    """`tiny_artifact`, not to be changed."""
    return onnx.load(tiny_artifact)


@pytest.fixture(scope="session")
def checked_artifact(
    tiny_network: Any, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """`tiny_network` as vm-export makes it."""
    path = tmp_path_factory.mktemp("checked") / "model.onnx"
    options = ExportOptions(shape=MODEL_SHAPE, voxel_size=manifest.voxel_size)
    export_artifact(tiny_network, path, options)
    return path


@pytest.fixture(scope="session")
def overflowing(checked_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same function, with one tensor between two layers beyond float16.

    LeakyReLU is positively homogeneous: what makes a layer's result larger, the next one's weights
    make smaller. Powers of two change no bit of the function.
    """
    model = onnx.load(checked_artifact)
    scaled(model, f"source.unet.{LARGE}.conv.weight", SCALE)
    scaled(model, f"source.unet.{LARGE}.conv.bias", SCALE)
    scaled(model, f"source.unet.{NEXT}.conv.weight", 1 / SCALE)
    path = tmp_path_factory.mktemp("overflowing") / "model.onnx"
    onnx.save(model, path)
    return path


def scaled(model: onnx.ModelProto, name: str, factor: float) -> None:
    """Multiply a constant of a model."""
    tensor = next(t for t in model.graph.initializer if t.name == name)
    values = (numpy_helper.to_array(tensor) * factor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, name))


@pytest.fixture
def pair_files(pair: dict[str, Path]) -> PairFiles:
    """The pair of the tests, with labels."""
    return PairFiles("first", **pair)


@pytest.fixture
def listing(tmp_path: Path, pair: dict[str, Path]) -> Path:
    """A CSV file with that pair, and the same the other way round without labels."""
    path = tmp_path / "pairs.csv"
    path.write_text(
        "moving,fixed,moving_seg,fixed_seg\n"
        f"{pair['moving']},{pair['fixed']},{pair['moving_seg']},{pair['fixed_seg']}\n"
        f"{pair['fixed']},{pair['moving']}\n"
    )
    return path
