"""Transforms one after the other, from places in a fixed world to places in a moving world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.cubic import cubic_sampler
from vmruntime.errors import TransformError
from vmruntime.grid import Grid
from vmruntime.label_vote import label_sampler
from vmruntime.sampling import Coordinates, linear_sampler, nearest_sampler, over_slabs
from vmruntime.volume import Volume

__all__ = ["AffineStep", "Chain", "ChainInterpolation", "Step", "WarpStep"]

ChainInterpolation = Literal["cubic", "label", "linear", "nearest"]

Points = NDArray[np.float64]
"""``(..., 3)`` float64, RAS+ mm."""

Places = NDArray[np.float64]
"""``(3, N)`` float64, RAS+ mm: the same with the coordinates apart, which numpy is quicker with."""


@dataclass(frozen=True, eq=False)
class AffineStep:
    """An affine map of the world.

    Parameters
    ----------
    matrix
        ``(4, 4)`` float64, RAS+ mm to RAS+ mm, invertible.
    """

    matrix: NDArray[np.float64]

    def map(self, points: Points) -> Points:
        """Where points of shape ``(..., 3)`` in RAS+ mm go."""
        return _by_coordinate(self.move, points)

    def move(self, places: Places) -> Places:
        """`map` for points in the shape ``(3, N)``."""
        return _apply(self.matrix, places)

    def inverse(self) -> AffineStep:
        """The way back."""
        return AffineStep(_inverse(self.matrix))


@dataclass(frozen=True, eq=False)
class WarpStep:
    """A dense displacement of the world.

    Parameters
    ----------
    displacement_mm
        ``(D, H, W, 3)`` float32, finite: RAS+ mm at each voxel of `grid`. Between voxels it is
        linear; up to half a voxel outside it keeps the border's value and further out it is zero,
        both as in ITK's DisplacementFieldTransform.
    grid
        The voxels it is given at.

    Raises
    ------
    TransformError
        The field does not fit the grid.
    """

    displacement_mm: NDArray[np.float32]
    grid: Grid

    def __post_init__(self) -> None:
        if self.displacement_mm.shape != (*self.grid.shape, 3):
            raise TransformError(
                f"a warp on a grid of {self.grid.shape} has the shape (D, H, W, 3), "
                f"not {self.displacement_mm.shape}"
            )
        # In another order every look-up would have to copy the whole field.
        object.__setattr__(self, "displacement_mm", np.ascontiguousarray(self.displacement_mm))

    def map(self, points: Points) -> Points:
        """Where points of shape ``(..., 3)`` in RAS+ mm go."""
        return _by_coordinate(self.move, points)

    def move(self, places: Places) -> Places:
        """`map` for points in the shape ``(3, N)``."""
        shape = self.grid.shape
        strides = (3 * shape[1] * shape[2], 3 * shape[2], 3)
        base = np.zeros(places.shape[1], np.int64)
        inside = np.ones(places.shape[1], bool)
        fractions, steps = [], []
        index = _apply(_inverse(self.grid.affine), places)
        for coordinate, size, stride in zip(index, shape, strides, strict=True):
            inside &= (coordinate >= -0.5) & (coordinate < size - 0.5)
            np.clip(coordinate, 0, size - 1, out=coordinate)
            # The last voxel belongs to the cell before it; an axis of one voxel has no cell.
            lower = np.minimum(coordinate.astype(np.int64), max(size - 2, 0))
            base += lower * stride
            fractions.append((coordinate - lower).astype(np.float32))
            steps.append(stride if size > 1 else 0)
        flat = self.displacement_mm.ravel()  # a view: the field is in C order

        def blended(axis: int, offset: int) -> NDArray[np.float32]:
            if axis == 3:
                found: NDArray[np.float32] = flat.take(base + offset)
                return found
            near = blended(axis + 1, offset)
            far = blended(axis + 1, offset + steps[axis])
            far -= near
            far *= fractions[axis]
            far += near
            return far

        moved = places.copy()
        for component in range(3):
            moved[component] += np.where(inside, blended(0, component), np.float32(0))
        return moved


Step = AffineStep | WarpStep


@dataclass(frozen=True, eq=False)
class Chain:
    """Steps from the fixed world to the moving world.

    Parameters
    ----------
    steps
        In the order in which they are applied to a point of the fixed world: for a scan that was
        first aligned by an affine and then warped, the warp and then the affine.
    """

    steps: tuple[Step, ...]

    def map(self, points: Points) -> Points:
        """Where points of the fixed world, ``(..., 3)`` in RAS+ mm, lie in the moving world."""
        return _by_coordinate(self.move, points)

    def move(self, places: Places) -> Places:
        """`map` for points in the shape ``(3, N)``."""
        for step in self.steps:
            places = step.move(places)
        return places

    def matrix(self, name: str) -> NDArray[np.float64]:
        """The chain as one ``(4, 4)`` matrix; `name` is what a message calls it.

        Raises
        ------
        TransformError
            There is a warp in it.
        """
        matrix = np.eye(4)
        for step in self.steps:
            if isinstance(step, WarpStep):
                raise TransformError(
                    f"{name}: holds a displacement field; an affine alone was expected"
                )
            matrix = step.matrix @ matrix
        return matrix

    def resample(
        self,
        volume: Volume,
        reference: Grid,
        interpolation: ChainInterpolation = "linear",
        *,
        threads: int = 1,
    ) -> Volume:
        """Carry an image of the moving world onto a grid of the fixed world, interpolating once.

        Parameters
        ----------
        volume
            The image; any grid.
        reference
            The grid to fill. Places outside the image become 0.
        interpolation
            ``"linear"`` and ``"cubic"`` give float32; ``"nearest"`` and ``"label"`` (see
            `vmruntime.label_vote`) keep the image's type and values.
        threads
            Number of threads to use.
        """
        if interpolation == "label":
            return self.resample_labels(volume, reference, threads=threads)[0]
        makers = {"linear": linear_sampler, "cubic": cubic_sampler, "nearest": nearest_sampler}
        sample = makers[interpolation](volume.data)
        kind = volume.data.dtype if interpolation == "nearest" else np.dtype(np.float32)
        data: NDArray[Any] = np.empty(reference.shape, kind)

        def fill(part: slice, coordinates: Coordinates) -> None:
            data[part] = sample(coordinates)

        self._over(reference, volume.grid, fill, threads)
        return Volume(data, reference, volume.header, volume.name)

    def resample_labels(
        self, volume: Volume, reference: Grid, *, threads: int = 1
    ) -> tuple[Volume, Volume]:
        """Carry labels by voting.

        Parameters
        ----------
        volume
            Integers on any grid.
        reference
            The grid to fill. Outside the image counts as label 0.
        threads
            Number of threads to use.

        Returns
        -------
        labels, confidence
            Of the image's type; and float32 between 0 and 1, the weight of the label that won.
        """
        sample = label_sampler(volume.data)
        labels: NDArray[Any] = np.empty(reference.shape, volume.data.dtype)
        confidence = np.empty(reference.shape, np.float32)

        def fill(part: slice, coordinates: Coordinates) -> None:
            labels[part], confidence[part] = sample(coordinates)

        self._over(reference, volume.grid, fill, threads)
        return (
            Volume(labels, reference, volume.header, volume.name),
            Volume(confidence, reference, volume.header, f"confidence of {volume.name}"),
        )

    def _over(
        self,
        reference: Grid,
        image: Grid,
        fill: Callable[[slice, Coordinates], None],
        threads: int,
    ) -> None:
        """Call a function with each slab of the reference and its voxel coordinates in an image."""
        to_voxel = _inverse(image.affine)

        def one_slab(part: slice) -> None:
            size = (part.stop - part.start, *reference.shape[1:])
            index = np.indices(size, np.float64).reshape(3, -1)
            index[0] += part.start
            place = _apply(to_voxel, self.move(_apply(reference.affine, index)))
            fill(part, list(place.astype(np.float32).reshape(3, *size)))

        over_slabs(one_slab, reference.shape, threads)


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    inverse: NDArray[np.float64] = np.linalg.inv(matrix).astype(np.float64, copy=False)
    return inverse


def _apply(matrix: NDArray[np.float64], places: Places) -> Places:
    # Not through BLAS, whose threads would compete with those that work on other slabs.
    moved: Places = np.einsum("ij,jn->in", matrix[:3, :3], places)
    moved += matrix[:3, 3:]
    return moved


def _by_coordinate(move: Callable[[Places], Places], points: Points) -> Points:
    """Call a function of ``(3, N)`` places with points of shape ``(..., 3)``."""
    places = np.asarray(points, np.float64).reshape(-1, 3).T
    return np.ascontiguousarray(move(places).T).reshape(np.shape(points))
