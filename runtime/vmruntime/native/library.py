"""Finding, loading and checking the compiled library."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from vmruntime.errors import VMError

__all__ = ["ABI_VERSION", "NativeLibraryError", "call", "load_library"]

ABI_VERSION = 1
"""VM_ABI_VERSION of runtime/include/vmruntime.h that this package was written for."""

REMEDY = "install voxelmorph-deploy again (pip install, with a C++17 compiler)"

OK, ARGUMENT, MEMORY = 0, 1, 2
"""Values of vm_status."""

POINTER, INT32, INT64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64

SIGNATURES: dict[str, list[type]] = {
    "vm_warp": [
        *(POINTER, INT32, INT64, POINTER, POINTER, POINTER),
        *(INT32, POINTER, POINTER, INT32),
    ],
    "vm_integrate": [POINTER, POINTER, INT32, POINTER, INT32],
    "vm_resize": [POINTER, INT64, POINTER, POINTER, ctypes.c_float, POINTER, INT32],
    "vm_compose": [POINTER, POINTER, POINTER, POINTER, POINTER, INT32],
    "vm_jacobian_determinant": [POINTER, POINTER, POINTER, INT32],
    "vm_invert": [POINTER, POINTER, POINTER, POINTER, INT32, POINTER, POINTER],
    "vm_carry": [POINTER, POINTER, ctypes.c_size_t, INT32],
    "vm_places": [POINTER, INT64, INT64, POINTER, INT32],
    "vm_offsets": [POINTER, POINTER, POINTER, INT32],
    "vm_pooled_convolution": [
        *(POINTER, INT64, POINTER, POINTER, POINTER),
        *(INT64, ctypes.c_float, POINTER, INT32),
    ],
    "vm_affine_resample": [POINTER, POINTER, POINTER, INT32],
}
"""Arguments of the functions that return a vm_status."""


class NativeLibraryError(VMError):
    """The compiled library is not there, is of another version or cannot be loaded."""


def load_library() -> ctypes.CDLL:
    """Load the library that the package's build made, or the one that VM_NATIVE_LIBRARY names.

    Raises
    ------
    NativeLibraryError
        There is none, it cannot be loaded, or it belongs to another version of this package.
    """
    path = _path()
    try:
        library = ctypes.CDLL(os.fspath(path))
        version = library.vm_abi_version
    except (OSError, AttributeError) as error:
        raise NativeLibraryError(f"{path} cannot be used ({error}); {REMEDY}") from error
    version.restype = ctypes.c_uint32
    found = version()
    if found != ABI_VERSION:
        raise NativeLibraryError(
            f"{path} has the interface version {found}, this package needs {ABI_VERSION}: "
            f"it is left over from another build; {REMEDY}"
        )
    library.vm_last_error.restype = ctypes.c_char_p
    library.vm_kernel_instructions.restype = ctypes.c_char_p
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name, None)
        if function is None:
            raise NativeLibraryError(f"{path} has no {name}; {REMEDY}")
        function.argtypes, function.restype = arguments, INT32
    return library


def call(library: ctypes.CDLL, name: str, *arguments: object) -> None:
    """Call one of the functions that return a status.

    Raises
    ------
    ValueError
        An argument cannot be used.
    MemoryError
        There is not enough memory.
    NativeLibraryError
        Anything else.
    """
    status = getattr(library, name)(*arguments)
    if status == OK:
        return
    text = library.vm_last_error().decode(errors="replace")
    kinds: dict[int, type[Exception]] = {ARGUMENT: ValueError, MEMORY: MemoryError}
    raise kinds.get(status, NativeLibraryError)(text)


def _path() -> Path:
    chosen = os.environ.get("VM_NATIVE_LIBRARY")
    if chosen:
        return Path(chosen)
    folder = Path(__file__).parent
    for path in sorted(folder.glob("_kernels.*")):
        if path.suffix in (".so", ".dylib"):
            return path
    raise NativeLibraryError(f"no compiled kernels in {folder}; {REMEDY}")
