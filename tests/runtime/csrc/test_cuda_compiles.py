"""The CUDA source compiles for every GPU that we name, by both compilers that meet it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from emulated_device import EmulatedDevice, why_not_emulated

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "runtime" / "csrc" / "cuda" / "vm_kernels.cu"

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""Turing to Blackwell."""

MOST_REGISTERS = 64
"""A thread: four blocks of 256 then fit a multiprocessor, enough to hide the gathers' latency."""

LARGE = {"vm_carry": 96, "vm_integrate_end": 80, "vm_unet_convolve": 168, "vm_unet_scans": 128}
"""vm_carry holds every look-up of every type; it is one launch for all images instead. A U-Net's
sums lie in registers: three blocks of 128 threads a multiprocessor."""


def _nvcc(folder: Path, architecture: int, *options: str) -> str:
    if not shutil.which("nvcc"):
        pytest.skip("nvcc is not installed")
    command = [
        "nvcc", "-std=c++17", "-O3", "--fmad=false", "-cubin", f"-arch=sm_{architecture}",
        "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra", *options,
        str(SOURCE), "-o", str(folder / "kernels.cubin"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvcc_compiles_without_a_warning(tmp_path: Path, architecture: int) -> None:
    assert _nvcc(tmp_path, architecture) == ""
    assert (tmp_path / "kernels.cubin").stat().st_size > 0


def test_nothing_spills_and_occupancy_is_as_planned(tmp_path: Path) -> None:
    """What ptxas says for H100 and H200; how fast the kernels are there is unverified."""
    said = _nvcc(tmp_path, 90, "-Xptxas", "-v")
    found = re.findall(
        r"properties for (vm_\w+)\s+(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers",
        said,
        re.DOTALL,
    )
    assert len(found) > 20
    for name, *numbers, registers in found:
        assert numbers == ["0", "0", "0"], name
        most = [n for prefix, n in LARGE.items() if name.startswith(prefix)]
        assert int(registers) <= max([MOST_REGISTERS, *most]), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles(architecture: int) -> None:
    """As on the user's machine: all files handed over as text, no CUDA toolkit's headers."""
    pytest.importorskip("cuda.bindings.nvrtc", reason="the gpu extra is not installed")
    from vmruntime.cuda.program import compile_program
    from vmruntime.cuda.sources import kernel_sources

    cubin = compile_program(kernel_sources(), f"sm_{architecture}")
    assert cubin.startswith(b"\x7fELF")
    if not why_not_emulated():
        for name in EmulatedDevice().kernels:
            assert b".text." + name.encode() + b"\0" in cubin


def test_every_kernel_is_described() -> None:
    """The table of arguments is what callers go by."""
    if reason := why_not_emulated():
        pytest.skip(reason)
    listed = (SOURCE.parent / "README.md").read_text(encoding="utf-8")
    names = set()
    for line in listed.splitlines():
        if line.startswith("| `vm_"):
            first, *others = re.findall(r"`(\w+)`", line.split("|")[1])
            names.add(first)
            # `vm_warp_nearest_8`, `_16`: further endings of the same name.
            names |= {f"{first.rsplit('_', 1)[0]}_{other.lstrip('_')}" for other in others}
    kernels = set(EmulatedDevice().kernels)
    assert names <= kernels
    labels = {name for name in kernels if name.startswith("vm_warp_label_")}
    assert kernels - labels <= names
