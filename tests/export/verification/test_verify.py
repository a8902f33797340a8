"""Verification finds an artifact that does not do what its source does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tiny_networks import SHAPE, tiny_network
from vmexport.errors import VerificationError
from vmexport.graph.artifact_module import ArtifactModule
from vmexport.verification import Limits, phantom_pair, verify
from vmruntime.backends import TensorSpec
from vmruntime.quality import Agreement

VOXEL_SIZE = (1.0, 2.0, 0.5)


class TorchBackend:
    """An "artifact" that is another network, so that any difference can be planted."""

    name, version, device = "torch", "0", "cpu"
    checks_fields = False

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.inputs: tuple[TensorSpec, ...] = ()
        names = ("moved", "displacement", "inverse_displacement")
        self.outputs = tuple(TensorSpec(name, "float", ()) for name in names)

    def run(self, feeds, outputs):
        with torch.inference_mode():
            tensors = [torch.from_numpy(feeds[name]) for name in ("moving", "fixed")]
            found = ArtifactModule(self.network).eval()(*tensors)
        names = [spec.name for spec in self.outputs]
        return {name: tensor.numpy().copy() for name, tensor in zip(names, found, strict=False)}

    def close(self) -> None:
        pass


class InverseOff(TorchBackend):
    """Right but for one voxel of the inverse."""

    def run(self, feeds, outputs):
        found = super().run(feeds, outputs)
        found["inverse_displacement"][0, 1, 3, 4, 5] += 0.5
        return found


class AllHalf(nn.Module):
    """A tail in float16: what must not happen to coordinates."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, moving, fixed):
        field = self.network.velocity(moving, fixed).half() / 2**5
        for _ in range(5):
            shape = field.shape[2:]
            axes = [torch.arange(n, dtype=torch.half) for n in shape]
            located = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None] + field
            sizes = torch.tensor(shape, dtype=torch.half).reshape(1, 3, 1, 1, 1) - 1
            grid = (2 * (located / sizes - 0.5)).permute(0, 2, 3, 4, 1)[..., [2, 1, 0]]
            field = (
                field
                + nn.functional.grid_sample(field.float(), grid.float(), align_corners=True).half()
            )
        return self.network.tail.resize_after(field.float())


def _perturbed(by: float) -> nn.Module:
    network = copy.deepcopy(tiny_network())
    with torch.no_grad():
        network.flow.bias[2] += by
    return network


def test_an_equal_artifact_passes_and_is_described() -> None:
    network = tiny_network()
    report = verify(network, TorchBackend(network), phantom_pair(SHAPE), VOXEL_SIZE, Limits(1e-3))
    assert report["displacement"]["max"] == report["inverse_displacement"]["max"] == 0
    assert report["moved_max"] == 0
    assert report["pair"] == "phantom"
    assert report["limits"] == {"max": 1e-3, "p99": None}
    assert report["source"] == report["artifact"]
    assert 0 < report["source"]["dice"] < 1


def test_a_difference_is_measured_in_voxels_and_millimetres() -> None:
    network = tiny_network(int_steps=0)
    backend = TorchBackend(copy.deepcopy(network))
    backend.outputs = backend.outputs[:2]
    with torch.no_grad():
        backend.network.flow.bias[2] += 0.25  # doubled by the resize: half a voxel of 0.5 mm
    report = verify(network, backend, phantom_pair(SHAPE), VOXEL_SIZE, Limits(1.0))
    assert report["displacement"]["mean"] == pytest.approx(0.5, rel=1e-3)
    assert report["displacement"]["max_mm"] == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize(("limits", "by"), [(Limits(1e-3), 0.01), (Limits(9, p99=1e-3), 0.01)])
def test_a_difference_over_a_limit_fails(limits: Limits, by: float) -> None:
    with pytest.raises(VerificationError, match="nothing was written") as caught:
        verify(
            tiny_network(), TorchBackend(_perturbed(by)), phantom_pair(SHAPE), VOXEL_SIZE, limits
        )
    assert "\n" not in str(caught.value)


def test_one_wrong_voxel_of_the_inverse_fails() -> None:
    network = tiny_network()
    with pytest.raises(VerificationError, match=r"by 0.5 voxel \(max, worst at \(3, 4, 5\)\)"):
        verify(network, InverseOff(network), phantom_pair(SHAPE), VOXEL_SIZE, Limits(1e-3))


def test_a_tail_in_float16_fails_the_limits_of_fp16() -> None:
    # Coordinates near 128 voxels have steps of 0.125 in float16.
    shape = (16, 16, 288)
    network = tiny_network(shape=shape)

    class WithInverse(TorchBackend):
        def run(self, feeds, outputs):
            moved, displacement = super().run(feeds, outputs).values()
            return {
                "moved": moved,
                "displacement": displacement,
                "inverse_displacement": displacement,
            }

    with pytest.raises(VerificationError, match="max, worst at"):
        verify(
            network,
            WithInverse(AllHalf(network)),
            phantom_pair(shape),
            VOXEL_SIZE,
            Limits.of("fp16"),
        )


def test_an_artifact_with_other_outputs_fails() -> None:
    backend = TorchBackend(tiny_network())
    backend.outputs = backend.outputs[:2]
    with pytest.raises(VerificationError, match="gives moved, displacement, its source moved"):
        verify(tiny_network(), backend, phantom_pair(SHAPE), VOXEL_SIZE, Limits(1e-3))


def test_nan_fails() -> None:
    nothing = Agreement(*[float("nan")] * 6, where=(0, 0, 0))
    with pytest.raises(VerificationError):
        Limits(1.0).require(nothing)


def test_limits_of_a_precision_and_their_replacement() -> None:
    assert Limits.of("fp32") == Limits(1e-3)
    assert Limits.of("fp16") == Limits(0.1, 0.02)
    assert Limits.of("fp16", 0.5) == Limits(0.5, 0.02)
    assert Limits.of("fp32", None, 0.001) == Limits(1e-3, 0.001)


@pytest.mark.parametrize("shape", [(16, 24, 40), (33, 7, 18)])
def test_the_phantom_pair_is_fixed_distinct_and_labelled(shape: tuple[int, int, int]) -> None:
    one, again = phantom_pair(shape, (1, 2)), phantom_pair(shape, (1, 2))
    assert one.moving.shape == (1, *shape)
    assert one.fixed.shape == (2, *shape)
    assert np.array_equal(one.moving, again.moving)
    assert not np.array_equal(one.moving[0], one.fixed[0])
    assert 0.2 < one.moving.max() < 1
    assert one.moving_labels is not None
    assert set(np.unique(one.moving_labels)) == {0, 1, 2, 3, 4}
