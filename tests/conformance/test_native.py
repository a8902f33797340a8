"""The compiled kernels on every row of the table, with each instruction set of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.check import check
from conformance.rows import (
    AffineRow,
    CarryRow,
    ComposeRow,
    IntegrateRow,
    JacobianRow,
    ResizeRow,
    Row,
    WarpRow,
    rows_of,
)
from vmruntime.native import NativeKernels, NativeLibraryError
from vmruntime.native.kernels import NativeMap

THREADS = 2

INSTRUCTIONS = ("baseline", "avx2", "avx512")


@pytest.fixture(scope="module")
def native() -> NativeKernels:
    try:
        return NativeKernels()
    except NativeLibraryError as error:
        if os.environ.get("VM_REQUIRE_NATIVE") == "1":
            raise
        pytest.skip(str(error))


def with_share(found: tuple[Any, Any]) -> Any:
    return found[0] if found[1] is None else found


def warp(native: NativeKernels, row: WarpRow) -> Any:
    found, share = native.warp(row.volume, row.displacement, row.mode, threads=THREADS)  # type: ignore[arg-type]
    # Linear look-ups of integers are float32: storing them is the caller's.
    return with_share((found.astype(row.volume.dtype), share))


def integrate(native: NativeKernels, row: IntegrateRow) -> Any:
    return native.integrate(row.velocity, row.steps, threads=THREADS)


def resize(native: NativeKernels, row: ResizeRow) -> Any:
    shape = [int(size * row.factor) for size in row.field.shape[1:]]
    return native.resize(row.field, shape, float(row.factor), threads=THREADS)


def compose(native: NativeKernels, row: ComposeRow) -> Any:
    return native.compose(row.first, row.second, threads=THREADS)


def jacobian(native: NativeKernels, row: JacobianRow) -> Any:
    return native.jacobian_determinant(row.displacement, threads=THREADS)


def affine_resample(native: NativeKernels, row: AffineRow) -> Any:
    where = NativeMap(row.shape, np.eye(4), None, row.matrix)
    return with_share(native.carry(where, [(row.volume, row.mode)], threads=THREADS)[0])  # type: ignore[list-item]


def carry(native: NativeKernels, row: CarryRow) -> Any:
    where = NativeMap(row.shape, row.to_model, row.displacement, row.to_moving)
    return with_share(native.carry(where, [(row.volume, row.mode)], threads=THREADS)[0])  # type: ignore[list-item]


RUN: dict[str, Any] = {
    "warp": warp,
    "integrate": integrate,
    "resize": resize,
    "compose": compose,
    "jacobian_determinant": jacobian,
    "affine_resample": affine_resample,
    "carry": carry,
}


@pytest.mark.parametrize("row", rows_of(RUN), ids=str)
def test_row(row: Row, native: NativeKernels) -> None:
    check(row, RUN[row.operation](native, row))


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_every_instruction_set_gives_the_same_bits(
    instructions: str, native: NativeKernels, tmp_path: Path
) -> None:
    """The table in a process of its own, as the choice is made once a process."""
    if INSTRUCTIONS.index(instructions) > INSTRUCTIONS.index(native.instructions):
        pytest.skip(f"this processor has no {instructions}")
    path = tmp_path / "results.npz"
    environment = {
        **os.environ,
        "VM_KERNELS": instructions,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    script = "import sys; from conformance import test_native; test_native.record(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, path], check=True, env=environment)
    with np.load(path) as found:
        assert str(found["instructions"]) == instructions
        for number, parts in enumerate(all_results(native)):
            for part, values in enumerate(parts):
                np.testing.assert_array_equal(found[f"{number}-{part}"], values)


def all_results(native: NativeKernels) -> list[tuple[Any, ...]]:
    """What every row gives, as tuples of arrays."""
    found = [RUN[row.operation](native, row) for row in rows_of(RUN)]
    return [parts if isinstance(parts, tuple) else (parts,) for parts in found]


def record(path: str) -> None:
    """Write `all_results` of this process."""
    native = NativeKernels()
    arrays = {
        f"{number}-{part}": values
        for number, parts in enumerate(all_results(native))
        for part, values in enumerate(parts)
    }
    np.savez(path, instructions=np.array(native.instructions), **arrays)
