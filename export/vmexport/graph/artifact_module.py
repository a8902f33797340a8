"""The outputs of an artifact, as one PyTorch module to export."""

from __future__ import annotations

from torch import Tensor, nn

from vmexport.errors import ExportError
from vmexport.networks import RegistrationNetwork, warp

__all__ = ["INPUTS", "ArtifactModule", "output_names"]

INPUTS = ("moving", "fixed")


def output_names(source: nn.Module) -> tuple[str, ...]:
    """Outputs that an artifact made from this network has, in order."""
    if isinstance(source, RegistrationNetwork) and source.diffeomorphic:
        return ("moved", "displacement", "inverse_displacement")
    return ("moved", "displacement")


class ArtifactModule(nn.Module):
    """A network, its displacement applied to the moving scan, and the inverse where there is one.

    Parameters
    ----------
    source
        A `RegistrationNetwork`, or any module that maps ``(moving, fixed)``, each
        ``(1, C, D, H, W)`` float32, to a displacement ``(1, 3, D, H, W)`` in voxels.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.source = source

    def forward(self, moving: Tensor, fixed: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors that `output_names` names, float32."""
        if not isinstance(self.source, RegistrationNetwork):
            displacement = _displacement(self.source(moving, fixed), moving).float()
            return warp(moving, displacement), displacement
        velocity = self.source.velocity(moving, fixed).float()
        displacement = self.source.tail(velocity)
        moved = warp(moving, displacement)
        if not self.source.diffeomorphic:
            return moved, displacement
        # exp(-v) is the inverse of exp(v) (Arsigny et al. 2006).
        return moved, displacement, self.source.tail(-velocity)


def _displacement(output: object, moving: Tensor) -> Tensor:
    if not isinstance(output, Tensor):
        raise ExportError(
            f"the module returns {type(output).__name__}, not the displacement alone; "
            "wrap it in a module whose forward(moving, fixed) returns that tensor"
        )
    expected = (moving.shape[0], 3, *moving.shape[2:])
    if tuple(output.shape) != expected:
        raise ExportError(
            f"the module returns shape {tuple(output.shape)}; a displacement in voxels has "
            f"(1, 3, D, H, W), here {tuple(expected)}"
        )
    return output
