"""What a layout has to offer to be recognized and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmexport.checkpoints.stored import Stored
from vmexport.networks import RegistrationNetwork


@dataclass(frozen=True)
class Layout:
    """One way in which a VoxelMorph network was written to a file.

    Attributes
    ----------
    name
        What `Checkpoint.layout` says.
    expects
        Its keys in a few words, for the message about a file that fits no layout.
    matches
        Whether a file's keys are of this layout.
    read
        Builds the network with the file's weights in it.
    """

    name: str
    expects: str
    matches: Callable[[Stored], bool]
    read: Callable[[Stored], RegistrationNetwork]
