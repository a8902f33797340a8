"""Where the work around the network is done: on the processor, or on the GPU that runs it.

::

    Registrar.register
      decide    alignment, where the model's grid lies      always on the processor
      sample    both scans into the model's grid          ┐
      network   the displacement                          │ at the workplace: `HostWorkplace`
      carry     scan and labels, one interpolation        │ here, or `vmruntime.cuda.workplace`
      jacobian  volume change, when asked for             ┘
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vmruntime.backends import Backend, DeviceBackend
from vmruntime.backends.protocol import not_finite
from vmruntime.displacement import Displacement
from vmruntime.grid import Grid
from vmruntime.intensity import IntensityRule
from vmruntime.memory_pool import release_memory
from vmruntime.regularity import jacobian_on
from vmruntime.transform import Interpolation, Transform
from vmruntime.volume import Volume

__all__ = [
    "HostWorkplace",
    "Sampled",
    "Workplace",
    "all_finite",
    "stands_on",
    "workplace_of",
]

SAME = 1e-6
"""Voxels by which two grids may differ and still be one, so that nothing is resampled."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """A scan as the network takes it.

    Parameters
    ----------
    volume
        On the model's grid, in the model's intensities.
    brightest
        Its foreground's maximum, see `IntensityRule.brightest`.
    """

    volume: Volume
    brightest: float | None


class Workplace(Protocol):
    """Does the work of a registration that the choice of a device changes.

    Methods may be called from several threads at once; `close` only when none is under way.
    Images that come back have the grid that was asked for and the name of what they come from.
    """

    device: str
    """What it runs on, such as ``"cpu"``."""
    threads: int
    """Threads for what is done on the processor."""

    def registration(self) -> AbstractContextManager[None]:
        """Hold around `sample`, `network` and `carry` of one pair: what they share is kept."""

    samples_at_once: bool
    """Whether `sample` may be called in several threads of one registration."""

    def sample(
        self, scan: Volume, rule: IntensityRule, affine: NDArray[np.float64], model: Grid
    ) -> Sampled:
        """Scale a scan's intensities and sample it into the model's grid, linearly.

        Parameters
        ----------
        scan
            As it was read.
        rule
            Applied first: what lies outside the scan is to be as dark as its background, 0.
        affine
            ``(4, 4)``, the world that `model` lies in to the scan's.
        model
            The model's grid. A scan that stands on it is taken as it is.
        """

    def network(
        self, backend: Backend, moving: Volume, fixed: Volume, outputs: Sequence[str]
    ) -> list[Displacement]:
        """Run the model on a sampled pair; the named fields, on the pair's grid.

        Raises
        ------
        BackendError
            The engine failed or is closed, or a field has the wrong shape or holds NaN.
        """

    def carry(
        self,
        transform: Transform,
        images: Sequence[tuple[Volume, Interpolation]],
        grid: Grid,
    ) -> list[Volume]:
        """Carry images of one grid of the moving world over; see `Transform.apply_all`."""

    def vote(self, transform: Transform, labels: Volume, grid: Grid) -> tuple[Volume, Volume]:
        """Carry labels over by voting, with the winners' shares; see `Transform.vote`."""

    def jacobian(self, transform: Transform) -> Volume:
        """Volume change on the fixed grid; see `vmruntime.regularity.jacobian_on`."""

    def close(self) -> None:
        """Release what is held; results stay usable, and what is asked later is done on the CPU."""


class HostWorkplace:
    """Everything on the processor.

    Parameters
    ----------
    threads
        Threads to use.
    """

    device = "cpu"

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.samples_at_once = threads > 1

    def registration(self) -> AbstractContextManager[None]:
        """Nothing to hold; see `Workplace.registration`."""
        return nullcontext()

    def sample(
        self, scan: Volume, rule: IntensityRule, affine: NDArray[np.float64], model: Grid
    ) -> Sampled:
        """See `Workplace.sample`."""
        scaled = scan.with_data(rule.apply(scan.data))
        if stands_on(scan.grid, affine, model):
            volume = Volume(scaled.data, model, scan.header, scan.name)
        else:
            volume = Transform(model, scan.grid, affine).apply(scaled, threads=self.threads)
        return Sampled(volume, rule.brightest(volume.data))

    def network(
        self, backend: Backend, moving: Volume, fixed: Volume, outputs: Sequence[str]
    ) -> list[Displacement]:
        """See `Workplace.network`."""
        feeds = {"moving": moving.data[None, None], "fixed": fixed.data[None, None]}
        found = backend.run(feeds, outputs)
        fields = []
        for name in outputs:
            field = np.asarray(found[name], dtype=np.float32)
            usable = field.ndim == 5 and (
                backend.checks_fields or all_finite(field[0], self.threads)
            )
            if not usable:
                raise not_finite(name, field.shape)
            fields.append(Displacement(field[0], fixed.grid))
        return fields

    def carry(
        self,
        transform: Transform,
        images: Sequence[tuple[Volume, Interpolation]],
        grid: Grid,
    ) -> list[Volume]:
        """See `Workplace.carry`."""
        return transform.apply_all(images, grid=grid, threads=self.threads)

    def vote(self, transform: Transform, labels: Volume, grid: Grid) -> tuple[Volume, Volume]:
        """See `Workplace.vote`."""
        return transform.vote(labels, grid=grid, threads=self.threads)

    def jacobian(self, transform: Transform) -> Volume:
        """See `Workplace.jacobian`."""
        return jacobian_on(transform, self.threads)

    def close(self) -> None:
        """Give up memory that waits to be used again; see `Workplace.close`."""
        release_memory()


def all_finite(field: NDArray[np.float32], threads: int = 1) -> bool:
    """Whether no number of a large array is NaN or infinite."""

    def is_finite(part: NDArray[np.float32]) -> bool:
        # They stay in a sum, which one pass makes.
        with np.errstate(invalid="ignore", over="ignore"):
            return bool(np.isfinite(part.sum()))

    with ThreadPoolExecutor(max(1, min(threads, len(field)))) as pool:
        return all(pool.map(is_finite, field))


def workplace_of(backend: Backend, threads: int) -> Workplace:
    """Where a backend's pairs are worked on: the GPU that it runs on, else the processor."""
    if isinstance(backend, DeviceBackend):
        from vmruntime.cuda.workplace import DeviceWorkplace

        return DeviceWorkplace(backend.gpu, threads)
    return HostWorkplace(threads)


def stands_on(scan: Grid, affine: NDArray[np.float64], model: Grid) -> bool:
    """Whether a scan's voxels are the model grid's, through an affine from its world."""
    to_scan = np.linalg.inv(scan.affine) @ affine @ model.affine
    return scan.shape == model.shape and bool(np.abs(to_scan - np.eye(4)).max() < SAME)
