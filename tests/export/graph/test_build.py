"""The graph of an artifact: contract, precision, free axes, no grids, no traces."""

from __future__ import annotations

import getpass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, shape_inference

from tiny_networks import SHAPE, STRIDE, SampledByHand, tiny_network
from vmexport.errors import ExportError
from vmexport.graph.artifact_module import ArtifactModule
from vmexport.graph.build import build_model

# Sums of some hundred float32 products in another order, in displacements of a few voxels.
FLOAT32 = 1e-4


def _feeds(shape: tuple[int, ...] = SHAPE, channels: tuple[int, int] = (1, 1)) -> dict:
    noise = np.random.default_rng(0)
    return {
        name: noise.random((1, count, *shape), dtype=np.float32)
        for name, count in zip(("moving", "fixed"), channels, strict=True)
    }


def _run(model: onnx.ModelProto, feeds: dict) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def _torch(network: torch.nn.Module, feeds: dict) -> list[np.ndarray]:
    with torch.inference_mode():
        outputs = ArtifactModule(network).eval()(*(torch.from_numpy(v) for v in feeds.values()))
    return [output.numpy() for output in outputs]


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return build_model(tiny_network(), SHAPE)


def test_inputs_outputs_and_opset_are_the_contract(model: onnx.ModelProto) -> None:
    def signature(tensors) -> dict:
        return {
            t.name: (
                t.type.tensor_type.elem_type,
                [d.dim_value for d in t.type.tensor_type.shape.dim],
            )
            for t in tensors
        }

    scan, field = (1, [1, 1, *SHAPE]), (1, [1, 3, *SHAPE])
    assert signature(model.graph.input) == {"moving": scan, "fixed": scan}
    expected = {"moved": scan, "displacement": field, "inverse_displacement": field}
    assert signature(model.graph.output) == expected
    assert {o.domain: o.version for o in model.opset_import} == {"": 20, "vxm": 1}
    assert [f.name for f in model.functions] == ["Warp3d"]


def test_it_computes_what_pytorch_computes(model: onnx.ModelProto) -> None:
    feeds = _feeds()
    expected = _torch(tiny_network(), feeds)
    assert np.abs(expected[1]).max() > 0.5, "a displacement that could show an error"
    for found, reference in zip(_run(model, feeds), expected, strict=True):
        assert np.abs(found - reference).max() < FLOAT32


def test_every_warp_is_the_operator_and_no_grid_is_stored(model: onnx.ModelProto) -> None:
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Warp3d") == 5 + 5 + 1
    assert "GridSample" not in operators
    constants = [t for t in model.graph.initializer if not t.name.endswith((".weight", ".bias"))]
    assert sum(len(t.raw_data) for t in constants) < 1000


def test_no_trace_of_the_exporting_machine_is_left(model: onnx.ModelProto) -> None:
    content = model.SerializeToString()
    for trace in (str(Path(__file__).parents[3]), "site-packages", ".py", f"/{getpass.getuser()}/"):
        assert trace.encode() not in content


def test_without_integration_there_is_no_inverse() -> None:
    model = build_model(tiny_network(int_steps=0), SHAPE)
    assert [t.name for t in model.graph.output] == ["moved", "displacement"]
    feeds = _feeds()
    for found, reference in zip(
        _run(model, feeds), _torch(tiny_network(int_steps=0), feeds), strict=True
    ):
        assert np.abs(found - reference).max() < FLOAT32


def test_several_channels() -> None:
    channels = (2, 3)
    model = build_model(tiny_network(channels=channels), SHAPE, channels=channels)
    feeds = _feeds(channels=channels)
    moved, displacement, _ = _run(model, feeds)
    assert moved.shape[1] == 2
    assert np.abs(displacement - _torch(tiny_network(channels=channels), feeds)[1]).max() < FLOAT32


def test_dynamic_takes_any_multiple_of_the_stride() -> None:
    model = build_model(tiny_network(), SHAPE, dynamic=True, stride=STRIDE)
    names = [[d.dim_param for d in t.type.tensor_type.shape.dim[2:]] for t in model.graph.output]
    assert names == [["D", "H", "W"]] * 3
    # The same size on every axis and the smallest one are what a traced constant would break on.
    for shape in (SHAPE, (8, 8, 8), (32, 16, 24), (40, 40, 40)):
        feeds = _feeds(shape)
        for found, reference in zip(_run(model, feeds), _torch(tiny_network(), feeds), strict=True):
            assert np.abs(found - reference).max() < FLOAT32


@pytest.mark.parametrize("dynamic", [False, True])
def test_fp16_is_the_unet_alone(dynamic: bool) -> None:
    model = build_model(tiny_network(), SHAPE, precision="fp16", dynamic=dynamic, stride=STRIDE)
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    kinds = {
        t.name: t.type.tensor_type.elem_type
        for t in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    }
    kinds |= {t.name: t.data_type for t in model.graph.initializer}
    for node in model.graph.node:
        inputs = [kinds[name] for name in node.input if kinds.get(name) in (1, 10)]
        if node.op_type in ("Conv", "LeakyRelu", "MaxPool"):
            assert set(inputs) == {TensorProto.FLOAT16}, node.name
        if node.op_type == "Warp3d":
            assert set(inputs) == {TensorProto.FLOAT}, node.name
    assert all(kinds[t.name] == 1 for t in (*model.graph.input, *model.graph.output))
    # 11 bits of mantissa through a dozen layers; displacements of a few voxels.
    feeds = _feeds()
    assert np.abs(_run(model, feeds)[1] - _torch(tiny_network(), feeds)[1]).max() < 0.05


def test_fp16_leaves_the_source_as_it_was() -> None:
    network = tiny_network()
    build_model(network, SHAPE, precision="fp16")
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_module_with_grid_sample_and_a_stored_grid() -> None:
    shape = (24, 32, 40)  # large enough for the grid to be worth replacing
    module = SampledByHand(shape).eval()
    model = build_model(module, shape)
    assert model.ByteSize() < 50_000 < module.grid.numel() * 4
    feeds = _feeds(shape)
    for found, reference in zip(_run(model, feeds), _torch(module, feeds), strict=True):
        assert np.abs(found - reference).max() < FLOAT32


class _Returns(torch.nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor):
        if self.what == "pair":
            return moving, fixed
        if self.what == "grid last":
            return torch.cat([moving, fixed, moving], 1).movedim(1, -1)
        return torch.from_numpy(moving.numpy())  # leaves the graph: cannot be exported


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("pair", "returns tuple, not the displacement alone"),
        ("grid last", "has .1, 3, D, H, W., here .1, 3, 16, 24, 40."),
        ("numpy", "PyTorch cannot export _Returns"),
    ],
)
def test_a_module_that_returns_something_else_is_refused(what: str, message: str) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        build_model(_Returns(what).eval(), SHAPE)
    assert "\n" not in str(caught.value)


def test_fp16_of_a_module_of_ones_own_is_refused() -> None:
    with pytest.raises(ExportError, match="fp16 needs to know the U-Net"):
        build_model(SampledByHand().eval(), SHAPE, precision="fp16")
