"""Computing in numpy where the compiled kernels would be taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vmruntime import kernels

__all__ = ["numpy_kernels"]


@contextmanager
def numpy_kernels() -> Iterator[None]:
    """Within it vmruntime uses its numpy code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VM_KERNELS", "numpy")
        kernels.forget_choice()
        try:
            yield
        finally:
            patch.undo()
            kernels.forget_choice()
