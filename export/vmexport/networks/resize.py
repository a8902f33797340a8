"""Resampling a vector field onto a finer or coarser grid of the same extent."""

from __future__ import annotations

from fractions import Fraction

from torch import Tensor, nn
from torch.nn import functional as F


class ResizeField(nn.Module):
    """Resize a field in voxels by `factor`: resample it, and scale its values alike.

    Corner voxels stay at the corners (``align_corners=True``), so voxel i of n goes to
    i (m - 1) / (n - 1) of m, while values are scaled by m / n: the two differ slightly. That
    is what the networks were trained with.

    Parameters
    ----------
    factor
        New size over old size; each size times it must be whole.
    """

    def __init__(self, factor: Fraction) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, field: Tensor) -> Tensor:
        """Map ``(N, 3, D, H, W)`` to ``(N, 3, D f, H f, W f)``, float32 voxels of each grid."""
        if self.factor == 1:
            return field
        size = [
            extent * self.factor.numerator // self.factor.denominator for extent in field.shape[2:]
        ]
        # the scaling goes to the smaller of the two grids, where it is cheaper
        if self.factor > 1:
            field = field * float(self.factor)
        field = F.interpolate(field, size=size, mode="trilinear", align_corners=True)
        if self.factor < 1:
            field = field * float(self.factor)
        return field
