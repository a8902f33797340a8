"""What float16 may do to a registration, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tiny_networks import tiny_network
from vmexport.artifact import ExportOptions, export_artifact
from vmexport.errors import VerificationError
from vmexport.graph.build import build_model
from vmexport.graph.manifest_props import with_manifest
from vmexport.verification import Limits, compare, phantom_pair, run_backend, verify
from vmexport.verification.pair import pair_from_files
from vmruntime.artifact import Artifact
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend

# Coordinates near 256 voxels have steps of 0.25 in float16.
LONG = (16, 16, 288)
VOXEL_SIZE = (1.0, 1.0, 1.0)

# Issue 4, "Must hold" 3: Dice and voxels by which a float16 U-Net may differ from float32.
DICE, P99, MAX = 0.001, 0.02, 0.1


def _round_to_half(nodes: Any, chosen: set[str]) -> None:
    """Send each of these tensors through float16, as a tail in float16 would."""
    for node in list(nodes):
        for name in [name for name in node.output if name in chosen]:
            exact, half = f"{name}_exact", f"{name}_half"
            node.output[list(node.output).index(name)] = exact
            at = list(nodes).index(node) + 1
            nodes.insert(at, helper.make_node("Cast", [exact], [half], to=TensorProto.FLOAT16))
            nodes.insert(at + 1, helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))


def test_an_all_float16_tail_fails_under_onnxruntime(manifest, tmp_path: Path) -> None:
    network = tiny_network(shape=LONG)
    with torch.no_grad():  # steep: a wrong place has to look up another displacement
        network.flow.bias.zero_()
        network.flow.weight.mul_(30)
    model = build_model(network, LONG, precision="fp16")
    path = tmp_path / "model.onnx"
    path.write_bytes(with_manifest(model, manifest))
    backend = OnnxRuntimeBackend(Artifact.read(path))
    limits = Limits.of("fp16")
    verify(network, backend, phantom_pair(LONG), VOXEL_SIZE, limits)

    body = next(f for f in model.functions if f.name == "Warp3d")
    _round_to_half(body.node, {"located_d", "located_h", "located_w"})
    head = max(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    tail = model.graph.node[head:]
    fields = {n.output[0] for n in tail if n.op_type in ("Warp3d", "Add", "Resize")}
    _round_to_half(model.graph.node, fields - {t.name for t in model.graph.output})
    onnx.checker.check_model(model)
    path.write_bytes(with_manifest(model, manifest))
    backend = OnnxRuntimeBackend(Artifact.read(path))
    with pytest.raises(VerificationError, match=r"\(max, .* the limit is 0\.1;"):
        verify(network, backend, phantom_pair(LONG), VOXEL_SIZE, limits)


def test_the_official_model_in_float16_on_real_scans(assets: Path, tmp_path: Path) -> None:
    scans = assets / "scans"
    found = {}
    for precision in ("fp32", "fp16"):
        path = tmp_path / f"{precision}.onnx"
        source = assets / "models" / "vxm_dense_brain_T1_3D_mse.pt"
        manifest = export_artifact(source, path, ExportOptions(precision=precision))
        pair = pair_from_files(
            manifest,
            scans / "subject_n_aligned.nii.gz",
            scans / "test_scan_aligned.nii.gz",
            scans / "subject_n_aligned_aseg.nii.gz",
            scans / "test_scan_aligned_aseg.nii.gz",
        )
        backend = OnnxRuntimeBackend(Artifact.read(path), arena=False)
        found[precision] = run_backend(backend, pair)
        backend.close()
    limits = Limits(MAX, P99)
    report = compare(found["fp32"], found["fp16"], pair, VOXEL_SIZE, limits, engine="onnxruntime")
    assert np.abs(found["fp32"]["displacement"]).max() > 1
    assert report["displacement"]["max"] > 0, "the two are the same model"
    assert abs(report["artifact"]["dice"] - report["source"]["dice"]) <= DICE
    print(report)
