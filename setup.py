"""The compiled kernels, which are optional; everything else stands in setup.cfg.

The same sources as CMake's in runtime/CMakeLists.txt. Without a C++ compiler the package installs
all the same and computes in numpy; VM_REQUIRE_NATIVE=1 makes that an error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCES = Path("runtime", "csrc", "cpu")

COMPILE = [
    "-std=c++17",
    "-O3",
    "-g0",
    "-pthread",
    "-fvisibility=hidden",
    # What vectors need, and the same bits on every processor: see csrc/cpu/rows.h.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
]
LINK = ["-pthread"]
if sys.platform == "linux":
    # Hides what the C++ library's templates leave visible.
    LINK.append(f"-Wl,--version-script={SOURCES / 'vmkernels.map'}")


def files(*patterns: str) -> list[str]:
    """Paths of sources that match, as setuptools wants them."""
    return sorted(path.as_posix() for pattern in patterns for path in SOURCES.glob(pattern))


native = Extension(
    # No Python module: vmruntime.native loads it with ctypes, and it links to no Python.
    "vmruntime.native._kernels",
    sources=files("*.cpp"),
    depends=["runtime/include/vmruntime.h", *files("*.h", "*.inl", "*.map")],
    include_dirs=["runtime/include"],
    extra_compile_args=COMPILE,
    extra_link_args=LINK,
    language="c++",
    py_limited_api=True,
    optional=os.environ.get("VM_REQUIRE_NATIVE") != "1",
)

setup(
    ext_modules=[native] if os.name == "posix" else [],
    # The library knows nothing of Python: one wheel serves every version.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
