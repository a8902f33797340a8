"""The genuine voxelmorph 0.2, for tests that compare with it."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest


def import_networks() -> ModuleType:
    """Import ``voxelmorph.torch.networks``, which has VxmDense, or skip the test."""
    with pytest.MonkeyPatch.context() as patch:
        # How voxelmorph and neurite are told not to import TensorFlow.
        patch.setenv("VXM_BACKEND", "pytorch")
        patch.setenv("NEURITE_BACKEND", "pytorch")
        # voxelmorph 0.2 uses a function that Python 3.11 no longer has.
        patch.setattr(inspect, "getargspec", lambda f: inspect.getfullargspec(f)[:4], raising=False)
        module: ModuleType = pytest.importorskip(
            "voxelmorph.torch.networks",
            reason="voxelmorph 0.2 with neurite 0.2 and pystrum (test extra) is not installed",
            exc_type=ImportError,
        )
    return module
