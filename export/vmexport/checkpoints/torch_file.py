"""Reading a file of ``torch.save`` without running anything that is in it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from vmexport.checkpoints.errors import CheckpointError, UnsafeCheckpointError
from vmexport.checkpoints.numpy_scalar import NUMPY_SCALARS
from vmexport.checkpoints.stored import Stored
from vmruntime.errors import one_line

ZIP_MAGIC = b"PK\x03\x04"
# pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), with which torch's older format begins
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."

_REMEDY = "save it again as VxmDense.save does, tensors and a plain config only"


def read_torch(path: Path, data: bytes) -> Stored:
    """Read the bytes of a ``torch.save`` file, zip or older format.

    Raises
    ------
    UnsafeCheckpointError
        If the pickle wants anything but tensors and plain values.
    CheckpointError
        If the file is damaged or holds no dict.
    """
    content = _load(path, data)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}; expected a dict with 'config' and "
            f"'model_state'; {_REMEDY}"
        )
    keys = tuple(str(key) for key in content)
    config = content.get("config")
    if config is not None and not isinstance(config, Mapping):
        raise CheckpointError(
            f"{path}: 'config' is a {type(config).__name__}; expected a dict of VxmDense's "
            f"arguments; {_REMEDY}"
        )
    state = content.get("model_state")
    if state is None and all(isinstance(value, Tensor) for value in content.values()):
        state = content
    if not isinstance(state, Mapping):
        return Stored(path, "torch", config, {}, keys)
    weights: dict[str, Tensor] = {}
    for name, value in state.items():
        # identity grids of VoxelMorph's spatial transformers are no weights
        if str(name).endswith(".grid"):
            continue
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: entry {name!r} of 'model_state' is a {type(value).__name__}; expected "
                f"a tensor; {_REMEDY}"
            )
        weights[str(name)] = value
    return Stored(path, "torch", config, weights, keys)


def _load(path: Path, data: bytes) -> Any:
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        wanted = _wanted_global(str(error))
        if wanted is None:
            raise CheckpointError(
                f"{path}: its pickle cannot be read ({one_line(error)}); expected tensors "
                f"and a plain config; {_REMEDY}"
            ) from error
        raise UnsafeCheckpointError(
            f"{path}: its pickle wants {wanted}, so it is a whole pickled object or hostile, and "
            f"was not run; expected tensors and a plain config; {_REMEDY}"
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise CheckpointError(
            f"{path}: damaged or not a checkpoint ({one_line(error)}); expected a complete "
            "torch.save file; copy or download it again"
        ) from error


def _wanted_global(message: str) -> str | None:
    """Find the global that torch's weights-only unpickler complains about."""
    for pattern in (r"GLOBAL (\S+)", r"unrecognized function (.+?)(?: which|\.?\s|$)"):
        found = re.search(pattern, message)
        if found:
            return found.group(1)
    return None
