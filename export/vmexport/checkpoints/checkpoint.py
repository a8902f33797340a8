"""From a file to a network."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from vmexport.checkpoints.errors import CheckpointError
from vmexport.checkpoints.keras_file import HDF5_MAGIC, read_keras
from vmexport.checkpoints.layouts import recognize
from vmexport.checkpoints.stored import Stored
from vmexport.checkpoints.torch_file import LEGACY_MAGIC, ZIP_MAGIC, read_torch
from vmexport.networks import RegistrationNetwork


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and where it came from.

    Attributes
    ----------
    network
        In eval mode, float32, on the CPU, no gradients.
    layout
        ``"vxm-dense"``, ``"vxm-dense-legacy"``, ``"keras-vxm-dense"`` or ``"keras-cvpr2018"``.
    sha256
        Of the file's bytes, hexadecimal.
    path
        The file.
    """

    network: RegistrationNetwork
    layout: str
    sha256: str
    path: Path


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a trained VoxelMorph network; its kind is told by what is in the file.

    Nothing in the file is run, and VoxelMorph, neurite and TensorFlow are not needed.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is no known layout, or its weights do not fit its config.
    UnsafeCheckpointError
        If it is a pickle that wants more than tensors and plain values.
    """
    path = Path(path)
    data = _read_bytes(path)
    stored = _open(path, data)
    layout = recognize(stored)
    return Checkpoint(layout.read(stored), layout.name, hashlib.sha256(data).hexdigest(), path)


def _open(path: Path, data: bytes) -> Stored:
    if data.startswith(HDF5_MAGIC):
        return read_keras(path, data)
    if data.startswith((ZIP_MAGIC, LEGACY_MAGIC)):
        return read_torch(path, data)
    if not data:
        raise CheckpointError(
            f"{path}: the file is empty; expected a VoxelMorph checkpoint; copy or download it "
            "again"
        )
    raise CheckpointError(
        f"{path}: begins with {data[:8]!r}; expected a PyTorch file (zip, or torch's older pickle) "
        "or a Keras HDF5 file; give the file that training saved"
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path}: no such file; expected a VoxelMorph checkpoint; check the path"
        ) from error
    except IsADirectoryError as error:
        raise CheckpointError(
            f"{path}: is a directory; expected a checkpoint file; give the file inside it"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); expected a readable checkpoint file; "
            "check its permissions"
        ) from error
