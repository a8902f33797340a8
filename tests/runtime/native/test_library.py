"""Which kernels compute, and what is said where it is not the compiled ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vmruntime import kernels
from vmruntime.native import NativeKernels, NativeLibraryError, load_library
from vmruntime.native.library import ABI_VERSION, SIGNATURES
from vmruntime.warp import warp_linear

HEADER = Path(__file__).resolve().parents[3] / "runtime" / "include" / "vmruntime.h"


@pytest.fixture(autouse=True)
def _chosen_anew() -> Iterator[None]:
    kernels.forget_choice()
    yield
    kernels.forget_choice()


@pytest.fixture
def library_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, pytest.MonkeyPatch]]:
    """A path that VM_NATIVE_LIBRARY names; the test puts a file there or does not."""
    path = tmp_path / "_kernels.so"
    monkeypatch.setenv("VM_NATIVE_LIBRARY", str(path))
    monkeypatch.delenv("VM_REQUIRE_NATIVE", raising=False)
    monkeypatch.delenv("VM_KERNELS", raising=False)
    yield path, monkeypatch
    monkeypatch.undo()


def compile_c(source: str, target: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(target)]
    subprocess.run(command, input=source.encode(), check=True)


def test_versions_of_header_and_package_agree() -> None:
    assert f"#define VM_ABI_VERSION {ABI_VERSION}\n" in HEADER.read_text()
    for name in SIGNATURES:
        assert f"VM_API vm_status {name}(" in HEADER.read_text()


def test_a_missing_library_is_said_and_numpy_computes(
    library_of: tuple[Path, pytest.MonkeyPatch],
) -> None:
    assert kernels.native_kernels() is None
    said = kernels.kernels_in_use()
    assert said.startswith("numpy, which is slower")
    assert "install voxelmorph-deploy again" in said
    assert "\n" not in said
    volume = np.ones((3, 4, 5), np.float32)
    np.testing.assert_array_equal(warp_linear(volume, np.zeros((3, 3, 4, 5), np.float32)), volume)


def test_a_missing_library_can_be_made_an_error(
    library_of: tuple[Path, pytest.MonkeyPatch],
) -> None:
    library_of[1].setenv("VM_REQUIRE_NATIVE", "1")
    with pytest.raises(NativeLibraryError, match="cannot be used"):
        kernels.native_kernels()


def test_a_stale_library_is_noticed(library_of: tuple[Path, pytest.MonkeyPatch]) -> None:
    path, patch = library_of
    compile_c("unsigned vm_abi_version(void) { return 4096; }", path)
    with pytest.raises(NativeLibraryError, match="interface version 4096") as raised:
        load_library()
    assert str(path) in str(raised.value)
    assert "install voxelmorph-deploy again" in str(raised.value)
    assert "4096" in kernels.kernels_in_use()
    patch.setenv("VM_REQUIRE_NATIVE", "1")
    kernels.forget_choice()
    with pytest.raises(NativeLibraryError, match="4096"):
        kernels.native_kernels()


def test_a_library_that_lacks_a_function(library_of: tuple[Path, pytest.MonkeyPatch]) -> None:
    constants = "const char *vm_last_error(void) { return 0; }" + (
        "const char *vm_kernel_instructions(void) { return 0; }"
    )
    version = f"unsigned vm_abi_version(void) {{ return {ABI_VERSION}; }}"
    compile_c(version + constants, library_of[0])
    with pytest.raises(NativeLibraryError, match="has no vm_"):
        load_library()


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF\x02\x01\x01" + bytes(60)])
def test_a_file_that_is_no_library(
    library_of: tuple[Path, pytest.MonkeyPatch], content: bytes
) -> None:
    library_of[0].write_bytes(content)
    with pytest.raises(NativeLibraryError, match="cannot be used"):
        load_library()


def test_importing_the_package_loads_nothing() -> None:
    script = (
        "import sys, vmruntime, vmruntime.transform\n"
        "assert not any(name.startswith('vmruntime.native') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ})


def test_numpy_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_KERNELS", "numpy")
    assert kernels.native_kernels() is None
    assert kernels.kernels_in_use() == "numpy (VM_KERNELS asks for it)"


def test_errors_of_the_library_are_python_errors() -> None:
    try:
        native = NativeKernels()
    except NativeLibraryError as error:
        pytest.skip(str(error))
    field = np.zeros((3, 4, 5, 6), np.float32)
    with pytest.raises(ValueError, match="vm_integrate: steps is -1"):
        native.integrate(field, -1)
    with pytest.raises(ValueError, match="threads is -3"):
        native.integrate(field, 2, threads=-3)
    with pytest.raises(ValueError, match="every size must be at least 2"):
        native.jacobian_determinant(field[:, :1])
    with pytest.raises(ValueError, match="not \\(2, 4, 5, 6\\)"):
        native.compose(field[:2], field)
