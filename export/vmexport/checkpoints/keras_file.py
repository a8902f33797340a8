"""Reading a Keras HDF5 file: the stored configuration and each layer's weights."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vmexport.checkpoints.errors import CheckpointError
from vmexport.checkpoints.stored import Stored
from vmruntime.errors import MissingDependencyError, one_line

if TYPE_CHECKING:
    import h5py

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def read_keras(path: Path, data: bytes) -> Stored:
    """Read the bytes of a Keras ``model.save`` or ``save_weights`` HDF5 file.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    MissingDependencyError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: is HDF5, and h5py is not installed; expected the export extra; "
            "pip install 'voxelmorph-deploy[export]'"
        ) from error
    try:
        with h5py.File(io.BytesIO(data), mode="r") as file:
            return _read(path, file)
    except CheckpointError:
        raise
    except Exception as error:  # damaged HDF5 surfaces as many unrelated exception types
        raise CheckpointError(
            f"{path}: damaged HDF5 ({one_line(error)}); expected a complete Keras file; "
            "copy or download it again"
        ) from error


def _read(path: Path, file: h5py.File) -> Stored:
    config = _config(path, file.attrs.get("model_config"))
    root = file.get("model_weights", file)
    layers = tuple(_text(name) for name in root.attrs.get("layer_names", ()))
    weights: dict[str, Tensor] = {}
    for layer in layers:
        for name in root[layer].attrs.get("weight_names", ()):
            # 'vxm_dense_flow/kernel:0' in group 'vxm_dense_flow'
            short = _text(name).rsplit("/", 1)[-1].split(":")[0]
            weights[f"{layer}/{short}"] = _tensor(root[layer][_text(name)][()])
    return Stored(path, "keras", config, weights, layers or tuple(file), layers)


def _tensor(values: np.ndarray[Any, Any]) -> Tensor:
    if values.ndim == 5:
        values = values.transpose(4, 3, 0, 1, 2)
    return torch.from_numpy(np.array(values, order="C"))


def _config(path: Path, stored: object) -> Mapping[str, Any] | None:
    if stored is None:
        return None
    parsed = json.loads(_text(stored))
    if not isinstance(parsed, dict) or not isinstance(parsed.get("config"), dict):
        raise CheckpointError(
            f"{path}: attribute 'model_config' has no 'config'; expected what Keras model.save "
            "writes; save the model again"
        )
    config: dict[str, Any] = parsed["config"]
    return config


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
