"""The installed C library called through ctypes, for tests that compare it with Python."""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.volume import Volume

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
AFFINES = {"default": 0, "none": 1, "header": 2, "matrix": 3, "auto": 4}
MOVED, INVERSE, JACOBIAN, OFFSETS = 1, 2, 4, 8
CANCEL = c.CFUNCTYPE(c.c_int32, c.c_void_p)


class Image(c.Structure):
    """``vm_image``."""

    _fields_ = (
        ("data", c.c_void_p),
        ("shape", c.c_int64 * 3),
        ("strides", c.c_int64 * 3),
        ("affine", c.c_double * 12),
        ("type", c.c_int),
    )


class RegisterOptions(c.Structure):
    """``vm_register_options``."""

    _fields_ = (
        ("struct_size", c.c_size_t),
        ("affine", c.c_int),
        ("matrix", c.c_double * 12),
        ("moving_intensity", c.c_char_p),
        ("fixed_intensity", c.c_char_p),
        ("labels", c.POINTER(Image)),
        ("label_count", c.c_size_t),
        ("label_mode", c.c_int),
        ("outputs", c.c_uint32),
        ("force", c.c_int32),
        ("progress", c.c_void_p),
        ("cancel", c.c_void_p),
        ("context", c.c_void_p),
        ("full_search", c.c_int32),
    )


class Alignment(c.Structure):
    """``vm_alignment``."""

    _fields_ = (
        ("struct_size", c.c_size_t),
        ("computed", c.c_int32),
        ("plausible", c.c_int32),
        ("correlation", c.c_double),
        ("foreground_overlap", c.c_double),
        ("fixed_outside", c.c_double),
        ("scale", c.c_double * 3),
        ("rotation_degrees", c.c_double),
        ("translation_mm", c.c_double * 3),
    )


class SessionOptions(c.Structure):
    """``vm_session_options``."""

    _fields_ = (
        ("struct_size", c.c_size_t),
        ("engine", c.c_char_p),
        ("engine_library", c.c_char_p),
        ("precision", c.c_char_p),
        ("cache_dir", c.c_char_p),
        ("threads", c.c_int32),
        ("plain", c.c_int32),
    )


TEXTS = ("engine", "engine_version", "precision", "manifest", "orientation", "intensity")


class SessionInfo(c.Structure):
    """``vm_session_info``, as far as its texts go."""

    _fields_ = (("struct_size", c.c_size_t), *((name, c.c_char_p) for name in TEXTS))


class Field(c.Structure):
    """``vm_field``."""

    _fields_ = (
        ("data", c.POINTER(c.c_float)),
        ("shape", c.c_int64 * 4),
        ("affine", c.c_double * 12),
    )


class UNetOptions(c.Structure):
    """``vm_unet_options``."""

    _fields_ = (("struct_size", c.c_size_t), ("rewrite", c.c_int32))


class CLibrary:
    """``libvmruntime.so``."""

    def __init__(self, path: Path) -> None:
        self.functions = c.CDLL(os.fspath(path))
        self.functions.vm_last_error.restype = c.c_char_p
        self.functions.vm_unet_data.restype = c.c_void_p

    def check(self, status: int) -> None:
        """Raise what the library says was wrong."""
        if status:
            raise RuntimeError(self.functions.vm_last_error().decode())

    def unet(self, model: bytes, *, rewrite: bool) -> bytes:
        """The cut U-Net of a model."""
        handle, size = c.c_void_p(), c.c_size_t()
        options = UNetOptions(c.sizeof(UNetOptions), rewrite)
        made = self.functions.vm_unet_from_onnx(
            model, c.c_size_t(len(model)), c.byref(options), c.byref(handle)
        )
        self.check(made)
        data = self.functions.vm_unet_data(handle, c.byref(size))
        unet = c.string_at(data, size.value)
        self.functions.vm_unet_free(handle)
        return unet


def image_of(volume: Volume) -> Image:
    """A view of a volume, which has to be kept."""
    data = volume.data
    image = Image(data=data.ctypes.data, type=1 + TYPES.index(data.dtype.str[1:]))
    image.shape[:] = data.shape
    image.strides[:] = [step // data.itemsize for step in data.strides]
    image.affine[:] = volume.grid.affine[:3].ravel().tolist()
    return image


class CSession:
    """``vm_session``; a context manager."""

    def __init__(
        self,
        library: CLibrary,
        model: Path,
        engine: Path | None,
        *,
        name: str = "auto",
        threads: int = 1,
        precision: str | None = None,
    ) -> None:
        self.library = library
        self.handle = c.c_void_p()
        options = SessionOptions(struct_size=c.sizeof(SessionOptions), threads=threads)
        options.engine = name.encode()
        options.precision = precision.encode() if precision else None
        if engine is not None:
            options.engine_library = os.fsencode(engine)
        library.check(
            library.functions.vm_session_open(
                os.fsencode(model), c.byref(options), c.byref(self.handle)
            )
        )

    def __enter__(self) -> CSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.library.functions.vm_session_free(self.handle)

    def describe(self) -> dict[str, str]:
        """The texts of ``vm_session_info``."""
        info = SessionInfo(struct_size=c.sizeof(SessionInfo))
        self.library.check(self.library.functions.vm_session_describe(self.handle, c.byref(info)))
        return {name: getattr(info, name).decode() for name in TEXTS}

    def register(
        self,
        moving: Volume,
        fixed: Volume,
        *,
        affine: str | NDArray[np.float64],
        labels: Sequence[Volume] = (),
        label_mode: int = 2,
        cancel: Callable[[], bool] | None = None,
        full_search: bool = False,
        force: bool = False,
    ) -> dict[str, Any]:
        """Everything that a registration gives, by name, copied."""
        asked = CANCEL(lambda _: bool(cancel and cancel()))
        options = RegisterOptions(struct_size=c.sizeof(RegisterOptions), label_mode=label_mode)
        options.full_search, options.force = full_search, force
        if isinstance(affine, str):
            options.affine = AFFINES[affine]
        else:
            options.affine = AFFINES["matrix"]
            options.matrix[:] = affine[:3].ravel().tolist()
        options.outputs = MOVED | INVERSE | JACOBIAN | OFFSETS
        images = (Image * max(1, len(labels)))(*map(image_of, labels))
        options.labels, options.label_count = images, len(labels)
        options.cancel = c.cast(asked, c.c_void_p) if cancel else None
        result = c.c_void_p()
        first, second = image_of(moving), image_of(fixed)
        functions = self.library.functions
        self.library.check(
            functions.vm_register(
                self.handle, c.byref(first), c.byref(second), c.byref(options), c.byref(result)
            )
        )
        try:
            return self._contents(result, len(labels))
        finally:
            functions.vm_result_free(result)

    def _contents(self, result: c.c_void_p, labels: int) -> dict[str, Any]:
        functions, image, field = self.library.functions, Image(), Field()
        self.library.check(functions.vm_result_moved(result, c.byref(image)))
        contents: dict[str, Any] = {"moved": _values(image), "labels": []}
        for index in range(labels):
            self.library.check(
                functions.vm_result_labels(result, c.c_size_t(index), c.byref(image))
            )
            contents["labels"].append(_values(image))
        for which, name in enumerate(("displacement", "inverse", "offsets", "jacobian")):
            self.library.check(functions.vm_result_field(result, which, c.byref(field)))
            contents[name] = np.ctypeslib.as_array(field.data, tuple(field.shape)).copy()
        contents |= self._affine(result)
        contents["warnings"] = self._warnings(result)
        return contents

    def _affine(self, result: c.c_void_p) -> dict[str, Any]:
        functions, matrix = self.library.functions, np.eye(4)
        found = Alignment(struct_size=c.sizeof(Alignment))
        first_rows = matrix.ctypes.data_as(c.POINTER(c.c_double))
        self.library.check(functions.vm_result_affine(result, first_rows))
        self.library.check(functions.vm_result_alignment(result, c.byref(found)))
        return {"affine": matrix, "alignment": found}

    def _warnings(self, result: c.c_void_p) -> list[str]:
        codes: list[str] = []
        while True:
            code = c.c_char_p()
            self.library.check(
                self.library.functions.vm_result_warning(
                    result, c.c_size_t(len(codes)), c.byref(code), None
                )
            )
            if code.value is None:
                return codes
            codes.append(code.value.decode())


def _values(image: Image) -> NDArray[Any]:
    dtype = np.dtype(TYPES[image.type - 1])
    shape = tuple(image.shape)
    data = c.string_at(image.data, int(np.prod(shape)) * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape)
