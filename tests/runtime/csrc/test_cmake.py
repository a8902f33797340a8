"""The C library as others find it: its tests, its headers, its package files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from installed_library import ROOT, InstalledLibrary, build, run

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")

CONSUMER = """
#include "vmruntime.h"

int main(void) {
    vm_session *session = NULL;
    if (vm_abi_version() != VM_ABI_VERSION) return 1;
    return vm_session_open("nowhere.onnx", NULL, &session) == VM_ERROR_ARTIFACT ? 0 : 1;
}
"""

CPP_CONSUMER = """
#include "vmruntime.hpp"

int main() {
    try {
        vmruntime::Session session("nowhere.onnx");
    } catch (const vmruntime::Error &error) {
        return error.status() == VM_ERROR_ARTIFACT ? 0 : 1;
    }
    return 1;
}
"""

CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(consumer LANGUAGES C CXX)
find_package(vmruntime 0.1 REQUIRED)
add_executable(in_c consumer.c)
add_executable(in_cpp consumer.cpp)
set_target_properties(in_c PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF)
set_target_properties(in_cpp PROPERTIES CXX_STANDARD 17 CXX_EXTENSIONS OFF)
foreach(target in_c in_cpp)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Werror)
  target_link_libraries(${target} PRIVATE vmruntime::vmruntime)
endforeach()
"""


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    """The sources of a program that uses the library, in C and in C++."""
    (tmp_path / "consumer.c").write_text(CONSUMER)
    (tmp_path / "consumer.cpp").write_text(CPP_CONSUMER)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    return tmp_path


def test_its_own_tests_pass(c_library: InstalledLibrary) -> None:
    env = {**c_library.environment, "VM_LEAK_CALLS": os.environ.get("VM_LEAK_CALLS", "1000")}
    output = run("ctest", "--output-on-failure", "--no-tests=error", cwd=c_library.build, env=env)
    assert "test_session" in output
    assert "Skipped" not in output


def test_find_package_serves_c_and_cpp(c_library: InstalledLibrary, consumer: Path) -> None:
    build(consumer, consumer / "build", f"-DCMAKE_PREFIX_PATH={c_library.prefix}")
    for program in ("in_c", "in_cpp"):
        run(consumer / "build" / program)


def test_pkg_config_serves_c(c_library: InstalledLibrary, consumer: Path) -> None:
    try:
        flags = run("pkg-config", "--cflags", "--libs", "vmruntime", env=c_library.environment)
    except FileNotFoundError:
        pytest.skip("no pkg-config on PATH")
    program = consumer / "program"
    run("cc", "-std=c99", *WARNINGS, consumer / "consumer.c", "-o", program, *flags.split())
    run(program, env=c_library.environment)


@pytest.mark.parametrize("standard", ["c99", "c11"])
def test_the_header_is_strict_c(c_library: InstalledLibrary, standard: str) -> None:
    header = c_library.prefix / "include" / "vmruntime.h"
    run("cc", f"-std={standard}", *WARNINGS, "-fsyntax-only", "-x", "c", header)


def test_the_library_shows_its_functions_and_no_others(c_library: InstalledLibrary) -> None:
    shown = run("nm", "-D", "--defined-only", c_library.libraries / "libvmruntime.so")
    names = {line.split()[-1].split("@")[0] for line in shown.splitlines()}
    assert {name for name in names if not name.startswith("vm_")} == {"VMRUNTIME_1"}
    header = (ROOT / "runtime" / "include" / "vmruntime.h").read_text()
    declared = set()
    for line in header.splitlines():
        if line.startswith("VM_API "):
            declared.add(line.split("(")[0].split()[-1].lstrip("*"))
    assert declared
    assert names - {"VMRUNTIME_1"} == declared


def test_nothing_of_an_engine_is_linked(c_library: InstalledLibrary) -> None:
    needed = subprocess.run(
        ["readelf", "-d", c_library.libraries / "libvmruntime.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for engine in ("openvino", "onnxruntime", "nvinfer"):
        assert engine not in needed
