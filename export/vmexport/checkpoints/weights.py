"""Moving weights from a file into a network, each of them accounted for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vmexport.checkpoints.errors import CheckpointError
from vmexport.checkpoints.stored import Stored
from vmexport.networks import RegistrationNetwork


def fill(
    network: RegistrationNetwork, stored: Stored, stored_name: Callable[[str], str]
) -> RegistrationNetwork:
    """Give the network the file's weights as float32, ready for inference.

    Parameters
    ----------
    network
        Built on the ``meta`` device, so that a config that lies about sizes costs no memory.
    stored
        The file.
    stored_name
        Maps a name of the network's state dict to the one in the file.

    Raises
    ------
    CheckpointError
        If a weight is missing, left over, of another shape, not a floating-point tensor, or not
        finite.
    """
    expected = network.state_dict()
    names = {own: stored_name(own) for own in expected}
    missing = [name for name in names.values() if name not in stored.weights]
    if missing:
        raise CheckpointError(
            f"{stored.path}: weight {_several(missing)} missing; expected "
            f"{len(names)} weights for its config; the file is incomplete, or its config is "
            "another network's: save the model again"
        )
    extra = sorted(set(stored.weights) - set(names.values()))
    if extra:
        raise CheckpointError(
            f"{stored.path}: weight {_several(extra)} left over; expected only the "
            f"{len(names)} of its config; the network differs from VoxelMorph's and cannot be "
            "exported"
        )
    state = {own: _checked(stored, name, tuple(expected[own].shape)) for own, name in names.items()}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def _checked(stored: Stored, name: str, shape: tuple[int, ...]) -> Tensor:
    weight = stored.weights[name]
    if tuple(weight.shape) != shape:
        raise CheckpointError(
            f"{stored.path}: weight {name!r} has shape {tuple(weight.shape)}; expected {shape} "
            "for its config; the config is another network's: save the model again"
        )
    plain = weight.is_floating_point() and weight.layout == torch.strided and not weight.is_meta
    if not plain:
        raise CheckpointError(
            f"{stored.path}: weight {name!r} is a {weight.dtype} tensor, {weight.layout}; expected "
            "a dense floating-point tensor; save the model unquantized"
        )
    weight = weight.detach().to(torch.float32).contiguous()
    if not bool(torch.isfinite(weight).all()):
        raise CheckpointError(
            f"{stored.path}: weight {name!r} has NaN or infinite values; expected finite ones; "
            "training diverged, take an earlier checkpoint"
        )
    return weight


def _several(names: list[str]) -> str:
    more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
    return f"{names[0]!r}{more}"
