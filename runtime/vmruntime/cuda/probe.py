"""Which NVIDIA GPUs there are, asked of the driver alone.

Needs no Python package, so that a machine without a GPU answers in a millisecond. With a driver,
`probe` initialises it (``cuInit``), makes no context and allocates nothing; a process that forks
afterwards must not use CUDA in its children, as always with CUDA.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

__all__ = ["DeviceFacts", "Probe", "probe"]

DRIVER_LIBRARY = "libcuda.so.1"

OLDEST_DRIVER = (12, 0)
"""CUDA version that a driver has to support: that of the oldest TensorRT that we run (10.9)."""

NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE."""

MAJOR, MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""


@dataclass(frozen=True)
class DeviceFacts:
    """One GPU.

    Parameters
    ----------
    ordinal
        Its number, as CUDA counts in this process (``CUDA_VISIBLE_DEVICES`` applies).
    name
        Such as ``"NVIDIA H200"``.
    compute_capability
        Such as ``(9, 0)``.
    memory_bytes
        All of its memory.
    """

    ordinal: int
    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int


@dataclass(frozen=True)
class Probe:
    """What was found.

    Parameters
    ----------
    devices
        The GPUs; empty where there is none that can be used.
    driver
        CUDA version that the driver supports, such as ``(13, 0)``; None without a driver.
    reason
        Why there is none, and what to do, in one line; empty where there is one.
    """

    devices: tuple[DeviceFacts, ...]
    driver: tuple[int, int] | None
    reason: str


def probe(library: str = DRIVER_LIBRARY) -> Probe:
    """Ask the driver for its GPUs.

    Parameters
    ----------
    library
        The driver's library.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return Probe(
            (), None, f"no NVIDIA driver: {library} is not there; install the driver of the GPU"
        )
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)):
        return Probe((), None, f"{library} does not answer; install the driver of the GPU again")
    supported = version.value // 1000, version.value % 1000 // 10
    if supported < OLDEST_DRIVER:
        return Probe(
            (),
            supported,
            f"the NVIDIA driver supports CUDA {_dotted(supported)}, {_dotted(OLDEST_DRIVER)} or "
            "newer is needed: update the driver",
        )
    count = ctypes.c_int()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code in (0, NO_DEVICE) and not count.value:
        return Probe(
            (),
            supported,
            "the NVIDIA driver sees no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES",
        )
    if code:
        return Probe(
            (), supported, f"the NVIDIA driver failed with error {code}; look at nvidia-smi"
        )
    return Probe(tuple(_facts(driver, number) for number in range(count.value)), supported, "")


def _facts(driver: ctypes.CDLL, ordinal: int) -> DeviceFacts:
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    memory = ctypes.c_size_t()
    major, minor = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), ordinal)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
    return DeviceFacts(
        ordinal, name.value.decode(errors="replace"), (major.value, minor.value), memory.value
    )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
