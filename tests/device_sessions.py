"""What a Registrar has to hold on any `Device`: the fake driver's and a real one.

Run as a program (``device_sessions.py NAME``) it does one of `SESSIONS` on the fake driver that
``LD_LIBRARY_PATH`` leads to; see `tests/runtime/cuda/test_cuda_device.py`.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from device_backend import BackendOnDevice
from fake_backend import FakeBackend
from synthetic_scans import (
    MODEL_ORIENTATION,
    MODEL_SHAPE,
    MODEL_VOXEL_SIZE,
    affine_of,
    model_volume,
    parcellation,
    textured,
    waves,
)
from vmruntime import Grid, Manifest, Registrar, Registration, Volume
from vmruntime.cuda.cuda_device import CudaDevice
from vmruntime.errors import BackendError, DeviceLostError, DeviceMemoryError

OF_RANGE = 1e-4
LABELS = 1e-4
VOXELS = 1e-4
DETERMINANT = 1e-5
"""As in `tests/runtime/cuda/test_workplace.py`."""

ILLEGAL_ADDRESS = 700


def manifest() -> Manifest:
    return Manifest(
        shape=MODEL_SHAPE, stride=16, orientation=MODEL_ORIENTATION, voxel_size=MODEL_VOXEL_SIZE,
        intensity="percentile:1,99", diffeomorphic=True, int_steps=3, precision="fp32",
        source={}, versions={}, verification={},
    )  # fmt: skip


def field(shape: tuple[int, ...]) -> np.ndarray:
    return waves(shape, 1.3, 14)


def scan(seed: int) -> Volume:
    shape = (19, 33, 27)
    affine = affine_of("RAS", (2.2, 1.9, 2.6))
    middle = Grid(MODEL_SHAPE, affine_of()).corners.mean(axis=0)
    affine[:3, 3] += middle - Grid(shape, affine).corners.mean(axis=0)
    return Volume(np.rint(textured(shape, seed)).astype(np.uint8), Grid(shape, affine))


def open_on(device: CudaDevice) -> Registrar:
    return Registrar(manifest(), BackendOnDevice(FakeBackend(field), device), 1)


def register(registrar: Registrar, seed: int = 0) -> Registration:
    moving = scan(seed)
    labels = Volume(parcellation(moving.grid.shape), moving.grid)
    return registrar.register(
        moving, model_volume(1), affine="header", labels=[labels], label_interpolation="label"
    )


def require_same(here: Registration, there: Registration) -> None:
    """Fail unless a registration on a device is that on the host."""
    for one, other, limit in (
        (there.moved.data, here.moved.data, OF_RANGE * 255),
        (there.displacement.data, here.displacement.data, VOXELS),
        (there.pair.moving.data, here.pair.moving.data, OF_RANGE),
        (there.jacobian().data, here.jacobian().data, DETERMINANT),
    ):
        assert one.dtype == other.dtype
        assert np.abs(one - other).max() <= limit
    wrong = there.moved_labels[0].data != here.moved_labels[0].data
    assert wrong.mean() <= LABELS
    assert there.warnings == here.warnings


def on_host(seed: int = 0) -> Registration:
    return register(Registrar(manifest(), FakeBackend(field), 1), seed)


def registers(make: Callable[[], CudaDevice]) -> None:
    """As on the host, again and again, and after closing."""
    registrar = open_on(make())
    results = [register(registrar, seed) for seed in (0, 1, 2, 0)]
    for seed, result in zip((0, 1, 2, 0), results, strict=True):
        require_same(on_host(seed), result)
    last = register(registrar, 5)
    registrar.close()
    require_same(on_host(5), last)
    registrar.close()
    with pytest.raises(BackendError, match="closed; load it again"):
        register(registrar)


def in_two_threads(make: Callable[[], CudaDevice]) -> None:
    """Two Registrars, each with its device, and two threads on one of them."""
    one, other = open_on(make()), open_on(make())
    with ThreadPoolExecutor(3) as pool:
        jobs = [
            (seed, pool.submit(register, registrar, seed))
            for seed, registrar in ((0, one), (1, other), (2, one), (3, other), (4, one))
        ]
        results = [(seed, job.result()) for seed, job in jobs]
    for seed, result in results:
        require_same(on_host(seed), result)
    one.close()
    other.close()


def repeats(make: Callable[[], CudaDevice]) -> None:
    """Work that comes again does what it did, on what lies there now."""
    device = make()
    source, targets = device.allocate(48), [device.allocate(64) for _ in range(10)]
    calls = [0] * len(targets)

    def run(number: int, seed: int) -> None:
        def work() -> None:
            calls[number] += 1
            arguments = [source, targets[number], np.int64(4), np.float32(2)]
            device.launch("vm_integrate_begin", (1, 1, 1), (256, 1, 1), arguments)

        velocity = np.random.default_rng(seed).random((3, 4), np.float32)
        device.upload(velocity, source)
        device.clear(targets[number])
        device.repeat(("pack", number), work)
        found = device.download(targets[number], (4, 4), np.float32)
        np.testing.assert_array_equal(found[:, :3], 2 * velocity.T)

    for seed in range(4):
        run(0, seed)
    assert calls[0] == 2  # as such, to be recorded, and never again
    for seed in range(40):
        run(seed % len(targets), seed)
    device.repeat("fails", lambda: None)
    with pytest.raises(ZeroDivisionError):
        device.repeat("fails", lambda: print(1 // 0))
    device.free(targets.pop())  # recordings of it go
    run(0, 0)
    for memory in (source, *targets):
        device.free(memory)
    device.close()


def out_of_memory(make: Callable[[], CudaDevice]) -> None:
    """However little memory there is: an error, and then a Registrar as before."""
    fake = ctypes.CDLL("libcuda.so.1")
    plenty = ctypes.c_size_t(1 << 30)
    said: list[str] = []
    for kib in (0, 50, 100, 150, 200, 300, 400, 500, 600, 700, 800):
        registrar = open_on(make())
        fake.fake_machine(13000, 1, ctypes.c_size_t(kib << 10))
        try:
            register(registrar)
        except DeviceMemoryError as error:
            said.append(str(error))
        gc.collect()
        fake.fake_machine(13000, 1, plenty)
        require_same(on_host(), register(registrar))
        gc.collect()
        arena: Any = registrar.workplace
        assert arena.arena.nbytes_taken == 0
        registrar.close()
    assert 4 <= len(said) < 11
    assert all("Fake GPU is out of memory" in text and "\n" not in text for text in said)


def lost(make: Callable[[], CudaDevice]) -> None:
    """Wherever the device fails: an error, and then a Registrar that is closed."""
    fake = ctypes.CDLL("libcuda.so.1")
    points = [("cuStreamSynchronize", n) for n in range(6)]
    points += [("cuLaunchKernel", 7), ("cuMemcpyHtoDAsync_v2", 1), ("cuMemAlloc_v2", 3)]
    for name, after in points:
        device = make()
        registrar = open_on(device)
        fake.fake_failure(name.encode(), after, ILLEGAL_ADDRESS)
        with pytest.raises(DeviceLostError, match=r"Fake GPU failed \(ILLEGAL_ADDRESS\)"):
            register(registrar).displacement.data  # noqa: B018 - the fetch is what may fail
        assert device.closed
        for _ in range(2):
            with pytest.raises(BackendError):
                register(registrar)
        registrar.close()


def machines(make: Callable[[], CudaDevice]) -> None:
    """What `probe` says, and a device that is not there."""
    from vmruntime.cuda.probe import probe
    from vmruntime.errors import BackendUnavailableError

    fake = ctypes.CDLL("libcuda.so.1")
    size = ctypes.c_size_t(3 << 30)
    fake.fake_machine(13010, 2, size)
    found = probe()
    assert (found.driver, found.reason, len(found.devices)) == ((13, 1), "", 2)
    assert found.devices[1].ordinal == 1
    assert found.devices[0].name == "Fake GPU"
    assert found.devices[0].compute_capability == (9, 0)
    assert found.devices[0].memory_bytes == 3 << 30
    for version, count, reason in (
        (11080, 1, "the NVIDIA driver supports CUDA 11.8, 12.0 or newer is needed"),
        (13000, 0, "sees no GPU"),
    ):
        fake.fake_machine(version, count, size)
        assert reason in probe().reason
        assert probe().devices == ()
        with pytest.raises(BackendUnavailableError, match=reason):
            make()
    fake.fake_machine(13000, 1, size)
    fake.fake_failure(b"cuInit", 0, 804)
    assert "error 804" in probe().reason
    with pytest.raises(BackendUnavailableError, match="there is no GPU 1"):
        CudaDevice(1, lambda *_: b"")
    fake.fake_failure(b"cuEventCreate", 1, 999)
    with pytest.raises(DeviceLostError):
        make()


SESSIONS = {
    session.__name__: session
    for session in (in_two_threads, lost, machines, out_of_memory, registers, repeats)
}


def main(name: str) -> None:
    """Run a session on the fake driver, and see that nothing is left of it there."""
    from emulated_device import emulated_kernels

    fake = ctypes.CDLL("libcuda.so.1")
    kernels = emulated_kernels()
    kernels.emulated_name.restype = ctypes.c_char_p
    count = kernels.emulated_kernels()
    names = (ctypes.c_char_p * count)(*[kernels.emulated_name(i) for i in range(count)])
    functions = [kernels.emulated_launch, kernels.emulated_parameters]
    fake.fake_kernels(*[ctypes.cast(f, ctypes.c_void_p) for f in functions], count, names)
    SESSIONS[name](lambda: CudaDevice(0, lambda *_: b"\x7fELF"))
    gc.collect()
    if name != "lost":  # what a failed device held is the driver's to free
        fake.fake_used.restype = ctypes.c_size_t
        assert (fake.fake_used(), fake.fake_left()) == (0, 0)


if __name__ == "__main__":
    main(sys.argv[1])
