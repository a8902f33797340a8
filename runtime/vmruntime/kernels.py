"""Which implementation of the voxel kernels computes: the compiled one, or numpy.

numpy is the reference, and what is left where the package was installed without a compiler; both
pass the same table (tests/conformance). Nothing falls back silently: `kernels_in_use` is what
reports and ``-v`` show.

Environment: ``VM_KERNELS=numpy`` asks for numpy; ``baseline``, ``avx2`` or ``avx512`` for compiled
kernels with at most these instructions. ``VM_REQUIRE_NATIVE=1`` makes it an error where the
compiled ones cannot be used. ``VM_NATIVE_LIBRARY`` names another build of the library.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmruntime.native import NativeKernels

__all__ = ["forget_choice", "kernels_in_use", "native_kernels"]


def native_kernels() -> NativeKernels | None:
    """The compiled kernels, or None where numpy computes.

    Raises
    ------
    NativeLibraryError
        They cannot be used, and ``VM_REQUIRE_NATIVE=1`` asks for them.
    """
    return _chosen()[0]


def kernels_in_use() -> str:
    """What computes, in a few words: ``"native (avx512)"``, or ``"numpy"`` and why.

    Raises
    ------
    NativeLibraryError
        See `native_kernels`.
    """
    return _chosen()[1]


def forget_choice() -> None:
    """Choose anew at the next call, because the environment has changed."""
    _chosen.cache_clear()


@functools.cache
def _chosen() -> tuple[NativeKernels | None, str]:
    if os.environ.get("VM_KERNELS") == "numpy":
        return None, "numpy (VM_KERNELS asks for it)"
    from vmruntime.native import NativeKernels, NativeLibraryError

    try:
        native = NativeKernels()
    except NativeLibraryError as error:
        if os.environ.get("VM_REQUIRE_NATIVE") == "1":
            raise
        return None, f"numpy, which is slower: {error}"
    return native, f"native ({native.instructions})"
