"""``vm_register`` of the C library gives what `Registrar.register` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c_session import CLibrary, CSession
from installed_library import InstalledLibrary
from synthetic_scans import MODEL_SHAPE, model_volume, parcellation
from vmruntime import Grid, Manifest, Registrar, Registration, Volume

VOXELS = 1e-4
"""Voxels, and share of the intensities' range, that both may differ by."""

TURNED = np.array(
    [[0.96, 0.1, -0.05, 3.0], [-0.08, 1.04, 0.06, -2.0], [0.03, -0.07, 0.98, 1.5], [0, 0, 0, 1]]
)
"""Fixed world to moving world, a few degrees and percent."""


@pytest.fixture(scope="module")
def library(c_library: InstalledLibrary) -> CLibrary:
    return CLibrary(c_library.libraries / "libvmruntime.so")


@pytest.fixture(scope="module")
def volumes() -> tuple[Volume, Volume, Volume]:
    """Moving, fixed and labels of moving, on the model's grid."""
    moving, fixed = model_volume(0), model_volume(1)
    labels = parcellation(MODEL_SHAPE, (0, 2, 41, 2035, 12175), 0)
    return moving, fixed, moving.with_data(np.asarray(labels, np.uint16))


def assert_same(found: dict[str, Any], expected: Registration) -> None:
    """Compare every output; borders of labels may round either way."""
    voxel = min(expected.transform.fixed.voxel_size)
    displacement = expected.displacement.data
    assert np.abs(displacement).max() > 0.1  # it moves at all
    assert np.abs(found["displacement"] - displacement).max() < VOXELS
    assert np.abs(found["inverse"] - expected.inverse.displacement.data).max() < 10 * VOXELS
    offsets = expected.transform.displacement_mm()
    assert np.abs(found["offsets"] - offsets).max() < VOXELS * max(voxel, 1)
    assert np.abs(found["jacobian"][0] - expected.jacobian().data).max() < 10 * VOXELS
    span = float(np.ptp(expected.moved.data))
    # A displacement that is off by 1e-4 voxel meets steps of the whole range from voxel to voxel.
    assert np.abs(found["moved"] - expected.moved.data).max() < 3 * VOXELS * span
    for mine, theirs in zip(found["labels"], expected.moved_labels, strict=True):
        assert mine.dtype == theirs.data.dtype
        assert np.count_nonzero(mine != theirs.data) <= 1e-4 * mine.size


def compare(
    library: CLibrary,
    engine: Path,
    model: Path,
    moving: Volume,
    fixed: Volume,
    labels: Volume,
    affine: Any,
    interpolation: Any = "nearest",
) -> None:
    with CSession(library, model, engine) as session:
        mode = {"nearest": 2, "label": 3}[interpolation]
        found = session.register(moving, fixed, affine=affine, labels=[labels], label_mode=mode)
    with Registrar.load(model, backend="onnxruntime", threads=1) as registrar:
        expected = registrar.register(
            moving,
            fixed,
            affine=affine,
            labels=[labels],
            label_interpolation=interpolation,
            inverse=True,
        )
    assert_same(found, expected)


@pytest.mark.parametrize("interpolation", ["nearest", "label"])
def test_on_the_models_grid(
    library: CLibrary,
    c_library: InstalledLibrary,
    tiny_artifact: Path,
    volumes: tuple[Volume, Volume, Volume],
    interpolation: str,
) -> None:
    compare(library, c_library.openvino, tiny_artifact, *volumes, "none", interpolation)


@pytest.mark.parametrize("affine", ["header", TURNED], ids=["header", "matrix"])
def test_on_any_grid(
    library: CLibrary,
    c_library: InstalledLibrary,
    tiny_artifact: Path,
    volumes: tuple[Volume, Volume, Volume],
    affine: Any,
) -> None:
    """Axes in another order, other voxels, an oblique fixed scan, layouts that are not C order."""
    moving, fixed, labels = volumes

    def turned(volume: Volume) -> Volume:
        order = [2, 0, 1]
        matrix = volume.grid.affine[:, [*order, 3]]
        data = volume.data.transpose(order)[::1]
        return Volume(data, Grid(data.shape, matrix))

    matrix = fixed.grid.affine.copy()
    matrix[:3, :3] = TURNED[:3, :3] @ matrix[:3, :3] * 1.1
    oblique = Volume(fixed.data.astype(np.float32), Grid(fixed.grid.shape, matrix))
    compare(
        library, c_library.openvino, tiny_artifact, turned(moving), oblique, turned(labels), affine
    )


@pytest.mark.parametrize("kind", ["half", "free"])
def test_with_models_of_other_kinds(
    library: CLibrary,
    c_library: InstalledLibrary,
    tiny_network: Any,
    manifest: Manifest,
    volumes: tuple[Volume, Volume, Volume],
    tmp_path: Path,
    kind: str,
) -> None:
    from dataclasses import replace

    from vmexport.graph.build import build_model, with_manifest

    model = tmp_path / "model.onnx"
    if kind == "free":
        built = build_model(tiny_network, (32, 48, 64), dynamic=True, stride=16)
        model.write_bytes(with_manifest(built, replace(manifest, shape=None)))
        compare(library, c_library.openvino, model, *volumes, "none")
        return
    built = build_model(tiny_network, MODEL_SHAPE, precision="fp16")
    model.write_bytes(with_manifest(built, replace(manifest, precision="fp16")))
    moving, fixed, _ = volumes
    with CSession(library, model, c_library.openvino) as session:
        found = session.register(moving, fixed, affine="none")
    with Registrar.load(model, backend="onnxruntime", threads=1) as registrar:
        expected = registrar.register(moving, fixed, affine="none")
    # onnxruntime rounds every activation to float16, OpenVINO on a CPU none of them.
    assert np.abs(found["displacement"] - expected.displacement.data).max() < 0.1


@pytest.mark.parametrize("rewrite", [False, True])
def test_the_cut_unet_is_the_models(
    library: CLibrary, tiny_artifact: Path, tiny_network: Any, rewrite: bool
) -> None:
    import onnx
    import torch
    from onnxruntime import InferenceSession

    unet = library.unet(tiny_artifact.read_bytes(), rewrite=rewrite)
    model = onnx.load_from_string(unet)
    onnx.checker.check_model(model, full_check=True)
    assert ("ConvTranspose" in {node.op_type for node in model.graph.node}) == rewrite
    pair = [model_volume(seed).data[None, None] / np.float32(255) for seed in (0, 1)]
    session = InferenceSession(unet, providers=["CPUExecutionProvider"])
    (velocity,) = session.run(["velocity"], dict(zip(("moving", "fixed"), pair, strict=True)))
    with torch.no_grad():
        wanted = tiny_network.velocity(*map(torch.from_numpy, pair)).numpy()
    assert np.abs(velocity - wanted).max() < VOXELS
