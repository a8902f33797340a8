"""What all VxmDense layouts share: the grid, the channels of the scans, the integration."""

from __future__ import annotations

from fractions import Fraction

from vmexport.checkpoints.options import Options
from vmexport.networks import PooledUNet, RegistrationNetwork, StridedUNet, Tail

# beyond this a float32 velocity is scaled to nothing that its sum would notice
_MOST_STEPS = 32
_COARSEST = 64


def integration_steps(options: Options) -> int:
    """Return ``int_steps``, 7 where it is not stored."""
    return options.integer("int_steps", 7, 0, _MOST_STEPS)


def integration_stride(options: Options, name: str, default: int = 2) -> int:
    """Return option `name`: the scans' size over the size of the integration's grid."""
    return options.integer(name, default, 1, _COARSEST)


def refuse_probabilities(options: Options) -> None:
    """Refuse a network that samples its velocity: it gives another answer each time."""
    if options.flag("use_probs"):
        raise options.error("use_probs", "False: VxmDense in PyTorch has no such network either")


def assemble(
    options: Options, unet: PooledUNet | StridedUNet, int_steps: int, stride: int
) -> RegistrationNetwork:
    """Put the network together, integrating at 1/`stride` of the scans' grid.

    Without integration VxmDense resizes nothing, whatever its options say.

    Raises
    ------
    CheckpointError
        If ``inshape`` is a grid on which VxmDense itself would fail.
    """
    tail = Tail(Fraction(unet.output_stride, stride), int_steps, stride) if int_steps else Tail()
    network = RegistrationNetwork(
        unet,
        tail,
        moving_channels=options.integer("src_feats", 1, 1, 4096),
        fixed_channels=options.integer("trg_feats", 1, 1, 4096),
        inshape=options.inshape(),
    )
    for size in options.inshape():
        # a grid of one voxel has no spacing to normalize coordinates by
        if size % network.stride or (int_steps and size // stride < 2):
            raise options.error(
                "inshape", f"multiples of {network.stride} and 2 voxels left to integrate on"
            )
    return network


def scan_channels(options: Options) -> int:
    """Return the channels of moving and fixed together."""
    return options.integer("src_feats", 1, 1, 4096) + options.integer("trg_feats", 1, 1, 4096)
