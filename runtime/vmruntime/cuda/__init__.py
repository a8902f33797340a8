"""A registration's work on an NVIDIA GPU: U-Net, look-ups, composition, labels, volume change.

In the tests the kernels' source runs on the CPU as well (``tests/emulated_device.py``), and what
drives a device on a driver made up for that.
"""

from __future__ import annotations

__all__: list[str] = []
