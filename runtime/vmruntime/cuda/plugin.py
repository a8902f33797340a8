"""Finding and registering our TensorRT plugin, for engines that were built with it.

Unverified with a real TensorRT: none that takes plugins was at hand.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from vmruntime.errors import BackendUnavailableError

__all__ = ["load_plugin", "plugin_path"]

VARIABLE = "VM_TENSORRT_PLUGIN"
LIBRARY = "libvxm_tensorrt_plugin.so"
NAME, VERSION, NAMESPACE = "Warp3d", "1", "vxm"


def plugin_path() -> Path:
    """Where the library is to be: as ``$VM_TENSORRT_PLUGIN`` says, else beside this package."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else Path(__file__).resolve().parents[1] / LIBRARY


def load_plugin(library: Any) -> None:
    """Register ``vxm/Warp3d``, version 1, with TensorRT; nothing where that was done before.

    Parameters
    ----------
    library
        The module ``tensorrt`` or ``tensorrt_lean``.

    Raises
    ------
    BackendUnavailableError
        Our library is not there, or TensorRT does not take it.
    """
    registry = library.get_plugin_registry()
    if registry.get_creator(NAME, VERSION, NAMESPACE) is not None:
        return
    path = plugin_path()
    remedy = (
        f"build it (docs/tensorrt.md) and set {VARIABLE} to its path, or build engines with "
        "--warp native or gather, which need no plugin"
    )
    try:
        # The system's loader says why, TensorRT only that it failed.
        ctypes.CDLL(os.fspath(path))
    except OSError as error:
        reason = " ".join(str(error).split())
        raise BackendUnavailableError(
            f"the TensorRT plugin vxm/Warp3d does not load: {reason}; {remedy}"
        ) from error
    registry.load_library(os.fspath(path))
    if registry.get_creator(NAME, VERSION, NAMESPACE) is None:
        raise BackendUnavailableError(
            f"{library.__name__} {library.__version__} does not take the plugin in {path}; {remedy}"
        )
