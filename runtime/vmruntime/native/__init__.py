"""The compiled kernels of runtime/csrc/cpu, called through their C interface.

Nothing is loaded before `vmruntime.kernels` asks for it.
"""

from vmruntime.native.kernels import NativeKernels, NativeMap
from vmruntime.native.library import NativeLibraryError, load_library

__all__ = ["NativeKernels", "NativeLibraryError", "NativeMap", "load_library"]
