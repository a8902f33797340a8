"""From what the network predicts to a displacement at full resolution."""

from __future__ import annotations

from fractions import Fraction

from torch import Tensor, nn

from vmexport.networks.resize import ResizeField
from vmexport.networks.warp import warp


class Tail(nn.Module):
    """Resize, integrate by scaling and squaring, resize; always in float32.

    Parameters
    ----------
    resize_before
        Factor from the grid of the prediction to the grid of the integration.
    int_steps
        Number of squarings; 0 takes the prediction as the displacement.
    resize_after
        Factor from the grid of the integration to full resolution.
    """

    def __init__(
        self,
        resize_before: Fraction | int = 1,
        int_steps: int = 0,
        resize_after: Fraction | int = 1,
    ) -> None:
        super().__init__()
        self.resize_before = ResizeField(Fraction(resize_before))
        self.int_steps = int_steps
        self.resize_after = ResizeField(Fraction(resize_after))

    def forward(self, velocity: Tensor) -> Tensor:
        """Turn a prediction into the displacement it stands for.

        Parameters
        ----------
        velocity
            ``(N, 3, d, h, w)``, any floating type, in voxels of its own grid. Where
            ``int_steps`` is not 0, minus the velocity gives the inverse displacement.

        Returns
        -------
        Tensor
            ``(N, 3, D, H, W)`` float32, in voxels of the full grid.

        Notes
        -----
        Scaling and squaring: Arsigny et al., MICCAI 2006; in VoxelMorph: Dalca et al.,
        MICCAI 2018, section 2.1.
        """
        field = self.resize_before(velocity.float())
        if self.int_steps:
            field = field / 2**self.int_steps
            for _ in range(self.int_steps):
                field = field + warp(field, field)
        return self.resize_after(field)  # type: ignore[no-any-return]
