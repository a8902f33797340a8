"""A registration's own work on an NVIDIA GPU: look-ups, composition, labels, volume change.

No GPU was at hand where this was written: the kernels' source runs in the tests on the CPU (see
``tests/emulated_device.py``), what drives a real device (`CudaDevice`) is unverified.
"""

from __future__ import annotations

__all__: list[str] = []
