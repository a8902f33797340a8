"""From a prediction to a displacement."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from vmexport.networks import Tail, warp

SHAPE = (12, 10, 14)


def smooth_velocity(shape: tuple[int, int, int], peak: float) -> torch.Tensor:
    """A velocity that vanishes towards the border: one half sine along each axis."""
    waves = [torch.sin(torch.linspace(0, torch.pi, size)) for size in shape]
    bump = waves[0][:, None, None] * waves[1][None, :, None] * waves[2][None, None, :]
    directions = torch.tensor([1.0, -0.5, 0.25]).reshape(1, 3, 1, 1, 1)
    return peak * directions * bump**2


def test_no_steps_passes_the_prediction_on() -> None:
    prediction = torch.randn(1, 3, *SHAPE)
    assert torch.equal(Tail()(prediction), prediction)


@pytest.mark.parametrize("factor", [Fraction(2), Fraction(3), Fraction(1, 2)])
def test_resizing_scales_sizes_and_values(factor: Fraction) -> None:
    prediction = torch.full((1, 3, *SHAPE), 1.5)
    resized = Tail(resize_after=factor)(prediction)
    assert resized.shape[2:] == tuple(size * factor for size in SHAPE)
    torch.testing.assert_close(resized, torch.full_like(resized, 1.5 * float(factor)))


def test_resizing_keeps_the_corners() -> None:
    prediction = torch.randn(1, 3, *SHAPE)
    resized = Tail(resize_after=2)(prediction)
    torch.testing.assert_close(resized[..., 0, 0, 0], 2 * prediction[..., 0, 0, 0])
    torch.testing.assert_close(resized[..., -1, -1, -1], 2 * prediction[..., -1, -1, -1])


@pytest.mark.parametrize("int_steps", [1, 3, 7])
def test_a_constant_velocity_is_its_own_displacement_inside(int_steps: int) -> None:
    velocity = torch.tensor([0.5, -0.25, 0.75]).reshape(1, 3, 1, 1, 1).expand(1, 3, 20, 18, 22)
    displacement = Tail(int_steps=int_steps)(velocity)
    # each squaring blends one voxel more of the zeros outside in
    inside = (..., *[slice(int_steps, -int_steps)] * 3)
    torch.testing.assert_close(displacement[inside], velocity[inside])


def test_integration_follows_the_flow() -> None:
    # v = (a x, 0, 0) about the middle has the flow x -> x exp(a)
    rate = 0.2
    axis = torch.arange(41, dtype=torch.float32) - 20
    velocity = torch.zeros(1, 3, 41, 8, 8)
    velocity[:, 0] = rate * axis[:, None, None]
    displacement = Tail(int_steps=7)(velocity)
    expected = axis * (torch.e**rate - 1)
    # 7 squarings of a first-order start: the relative error is rate / 2**8
    torch.testing.assert_close(
        displacement[0, 0, 12:29, 4, 4], expected[12:29], rtol=2 * rate / 2**8, atol=1e-5
    )


def test_minus_the_velocity_gives_the_inverse() -> None:
    velocity = smooth_velocity((32, 36, 28), peak=2.0)
    tail = Tail(int_steps=7)
    forth, back = tail(velocity), tail(-velocity)
    assert forth.abs().max() > 1
    # what linear interpolation loses of this curvature: the field's second difference over 8
    assert (forth + warp(back, forth)).abs().max() < 0.02


def test_it_computes_in_float32_whatever_it_gets() -> None:
    velocity = smooth_velocity(SHAPE, peak=1.0).half()
    displacement = Tail(int_steps=7)(velocity)
    assert displacement.dtype == torch.float32
    assert torch.equal(displacement, Tail(int_steps=7)(velocity.float()))


def test_dynamic_sizes_export_without_a_stored_grid() -> None:
    tail = Tail(Fraction(1, 2), 7, 2)
    axes = {2 + axis: 2 * torch.export.Dim(f"half{axis}", min=2, max=200) for axis in range(3)}
    program = torch.export.export(
        tail, (torch.randn(1, 3, 12, 16, 8),), dynamic_shapes={"velocity": axes}
    )
    assert not program.constants
    assert not program.state_dict
    other = torch.randn(1, 3, 8, 20, 14)
    torch.testing.assert_close(program.module()(other), tail(other))
