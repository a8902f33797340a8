"""Importing OpenVINO without its model converter."""

from __future__ import annotations

import sys
from typing import Any

from vmruntime.errors import BackendUnavailableError

__all__ = ["import_openvino"]

CONVERTER = "openvino.tools.ovc"


def import_openvino() -> Any:
    """Import the ``openvino`` package.

    Its ``__init__`` also imports a converter that reports each import to a server on the internet
    unless the user opted out, and that takes three quarters of the import's time. Neither belongs
    in a program that handles patients' scans. ``__init__`` goes on where the converter cannot be
    imported; who needs it in the same process imports it by its name, ``openvino.tools.ovc``.

    Raises
    ------
    BackendUnavailableError
        It is not installed.
    """
    hidden = CONVERTER not in sys.modules
    if hidden:
        sys.modules[CONVERTER] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise BackendUnavailableError(
            "openvino is not installed; pip install 'voxelmorph-deploy[cpu]'"
        ) from error
    finally:
        if hidden:
            del sys.modules[CONVERTER]
    return openvino
