"""Looking images of the moving world up from a grid of the fixed world.

What `vmruntime.transform.Transform` does with images: by the compiled kernels where they are there
and know the image's type, else in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.cubic import cubic_sampler
from vmruntime.displacement import Displacement
from vmruntime.grid import Grid
from vmruntime.kernels import native_kernels
from vmruntime.label_vote import label_sampler
from vmruntime.mapping import native_map, voxel_map
from vmruntime.sampling import Coordinates, Sampler, linear_sampler, nearest_sampler, over_slabs

if TYPE_CHECKING:
    from vmruntime.native import NativeMap

__all__ = ["Carrying", "Interpolation"]

Interpolation = Literal["linear", "cubic", "nearest", "label"]

Images = Sequence[tuple[NDArray[Any], Interpolation]]
"""``(D, H, W)`` each, on one grid."""


def _winner_sampler(labels: NDArray[Any]) -> Sampler:
    vote = label_sampler(labels)
    return lambda coordinates: vote(coordinates)[0]


SAMPLERS: dict[str, Callable[[NDArray[Any]], Sampler]] = {
    "linear": linear_sampler,
    "cubic": cubic_sampler,
    "nearest": nearest_sampler,
    "label": _winner_sampler,
}

REACH = 2
"""Voxels beyond a voxel that an interpolation may look, with one to spare for rounding."""


@dataclass(frozen=True, eq=False)
class Carrying:
    """How images on one grid come onto another.

    Parameters
    ----------
    output
        The grid to fill, in the fixed world.
    moving
        The grid of the images, in the moving world.
    affine
        ``(4, 4)`` float64, fixed world to moving world, RAS+ mm.
    displacement
        Applied before the affine; or None.
    threads
        Number of threads to use.
    """

    output: Grid
    moving: Grid
    affine: NDArray[np.float64]
    displacement: Displacement | None
    threads: int

    def carry(self, images: Images) -> list[NDArray[Any]]:
        """Fill the output from every image; see `Transform.apply`."""
        moved = self._natively(images)
        rest = [place for place in range(len(images)) if place not in moved]
        moved |= zip(rest, self._in_numpy([images[place] for place in rest]), strict=True)
        return [moved[place] for place in range(len(images))]

    def vote(self, labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Labels by voting, and their shares; see `Transform.vote`."""
        native = native_kernels()
        if native and native.takes(labels, "label"):
            found, share = native.carry(
                self._native_map(), [(labels, "label")], threads=self.threads
            )[0]
            if share is not None:
                return found, share
        winners = np.zeros(self.output.shape, labels.dtype)
        shares = np.ones(self.output.shape, np.float32)
        bounds = _bounds(labels)
        sample = label_sampler(_part(labels, bounds))

        def fill(part: tuple[slice, ...], coordinates: Coordinates) -> None:
            winners[part], shares[part] = sample(coordinates)

        self._over_what_sees(bounds, fill)
        return winners, shares

    def box_that_sees(self, seen: Grid) -> NDArray[np.int64]:
        """Bounds ``(3, 2)`` of the output's voxels that can see a grid of the moving world."""
        everything = np.array([(0, size) for size in self.output.shape])
        corners = np.array(list(np.ndindex(2, 2, 2)))
        reached = np.array([(-REACH, size - 1 + REACH) for size in seen.shape])
        places = np.take_along_axis(reached, corners.T, axis=1).T
        to_fixed = np.linalg.inv(self.affine) @ seen.affine
        world = places @ to_fixed[:3, :3].T + to_fixed[:3, 3]
        if self.displacement is not None:
            # Whatever looks there lies at most the longest displacement away, along each axis.
            model = self.displacement.grid.affine
            voxels = (world - model[:3, 3]) @ np.linalg.inv(model[:3, :3]).T
            longest = np.abs(self.displacement.data).max(axis=(1, 2, 3))
            box = np.stack([voxels.min(axis=0) - longest, voxels.max(axis=0) + longest], axis=1)
            places = np.take_along_axis(box, corners.T, axis=1).T
            world = places @ model[:3, :3].T + model[:3, 3]
        output = self.output.affine
        found = (world - output[:3, 3]) @ np.linalg.inv(output[:3, :3]).T
        low, high = np.floor(found.min(axis=0)), np.ceil(found.max(axis=0)) + 1
        bounds = np.stack([low, high], axis=1).astype(np.int64)
        return np.clip(bounds, 0, everything[:, 1:])

    def _natively(self, images: Images) -> dict[int, NDArray[Any]]:
        """What the compiled kernels can carry, by its place among the images."""
        native = native_kernels()
        taken: dict[int, tuple[NDArray[Any], Any]] = {}
        for place, (data, interpolation) in enumerate(images):
            if native and native.takes(data, interpolation):
                # float16 would come back as it came.
                half = interpolation == "linear" and data.dtype.name == "float16"
                taken[place] = data.astype(np.float32) if half else data, interpolation
        if not (native and taken):
            return {}
        found = native.carry(self._native_map(), list(taken.values()), threads=self.threads)
        return {place: data for place, (data, _) in zip(taken, found, strict=True)}

    def _native_map(self) -> NativeMap:
        start = self.displacement.grid if self.displacement else self.output
        to_moving = np.linalg.inv(self.moving.affine) @ self.affine @ start.affine
        return native_map(self.output, self.displacement, to_moving)

    def _in_numpy(self, images: Images) -> list[NDArray[Any]]:
        if not images:
            return []
        bounds = _bounds(*(data for data, _ in images))
        moved, samplers = [], []
        for data, interpolation in images:
            exact = interpolation in ("nearest", "label")
            moved.append(np.zeros(self.output.shape, data.dtype if exact else np.float32))
            samplers.append(SAMPLERS[interpolation](_part(data, bounds)))

        def fill(part: tuple[slice, ...], coordinates: Coordinates) -> None:
            for data, sample in zip(moved, samplers, strict=True):
                data[part] = sample(coordinates)

        self._over_what_sees(bounds, fill)
        return moved

    def _over_what_sees(
        self, bounds: NDArray[np.int64], fill: Callable[[tuple[slice, ...], Coordinates], None]
    ) -> None:
        """Call `fill` for slabs of the output that can see part of the moving grid.

        The coordinates are those of the part. Scans are mostly background: leaving that out
        halves the work, and more.
        """
        if (bounds[:, 0] >= bounds[:, 1]).any():
            return
        seen = self.moving.box(bounds)
        box = self.box_that_sees(seen)
        if (box[:, 0] >= box[:, 1]).any():
            return
        part_of_output = self.output.box(box)
        start = self.displacement.grid if self.displacement else part_of_output
        to_seen = np.linalg.inv(seen.affine) @ self.affine @ start.affine
        positions = voxel_map(part_of_output, self.displacement, to_seen)
        (d, _), *others = box.tolist()
        rest = tuple(slice(low, high) for low, high in others)

        def one_slab(part: slice) -> None:
            fill((slice(d + part.start, d + part.stop), *rest), positions(part))

        over_slabs(one_slab, tuple(box[:, 1] - box[:, 0]), self.threads)


def _bounds(*images: NDArray[Any]) -> NDArray[np.int64]:
    """First and one past the last index of other than zeros in any image; (0, 0) if none."""
    bounds = []
    used = images[0] != 0
    for data in images[1:]:
        used |= data != 0
    for axes in ((1, 2), (0, 2), (0, 1)):
        where = np.flatnonzero(used.any(axis=axes))
        bounds.append((where[0], where[-1] + 1) if where.size else (0, 0))
    return np.array(bounds, np.int64)


def _part(data: NDArray[Any], bounds: NDArray[np.int64]) -> NDArray[Any]:
    """What lies within bounds; one voxel where that is nothing, which no one looks at."""
    part = data[tuple(slice(low, high) for low, high in bounds)]
    return part if part.size else data[:1, :1, :1]
