"""What registering one pair gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.displacement import Displacement
from vmruntime.grid import Grid
from vmruntime.io.images import Scan, read_labels, read_scan
from vmruntime.placement import foreground
from vmruntime.preparation import Prepared
from vmruntime.quality import Quality, count_labels, mask_dice, overlap, similarity
from vmruntime.regularity import measure_regularity, round_trip
from vmruntime.stages import Stages
from vmruntime.transform import Transform
from vmruntime.volume import Volume
from vmruntime.warp import warp_linear
from vmruntime.workplace import Workplace

__all__ = ["Registration"]


@dataclass(frozen=True, eq=False)
class Registration:
    """A registered pair.

    Parameters
    ----------
    moved
        The moving scan where it was asked for, float32, in its own intensities; on the fixed scan's
        grid with that scan's header.
    moved_labels
        The segmentations that were given to `Registrar.register`, carried likewise.
    transform
        Fixed to moving: it carries images from the moving onto the fixed scan.
    inverse
        The other way round, where it was asked for.
    pair
        Both scans as the network saw them, and how they came there.
    stages
        Seconds of each stage; `timings` as a mapping.
    workplace
        Where later work on this result is done; the CPU once its Registrar is closed.
    """

    moved: Volume
    moved_labels: tuple[Volume, ...]
    transform: Transform
    inverse: Transform | None
    pair: Prepared
    stages: Stages
    workplace: Workplace

    @property
    def threads(self) -> int:
        """Threads for later work on this result."""
        return self.workplace.threads

    @property
    def timings(self) -> Mapping[str, float]:
        """Wall-clock seconds of each stage so far."""
        return self.stages.seconds

    @property
    def displacement(self) -> Displacement:
        """What the network gave, on the model's grid as it lies in the fixed world."""
        displacement = self.transform.displacement
        assert displacement is not None  # only `Transform.affine_only` has none
        return displacement

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """What looks doubtful: a stable code and one line of text each."""
        return self.pair.warnings

    def warp(self, image: Scan, *, grid: Grid | None = None) -> Volume:
        """Carry another scan of the moving subject over, linearly, float32.

        Parameters
        ----------
        image
            Path, nibabel image or Volume, anywhere in the moving scan's world.
        grid
            Where it is to lie, in the fixed world; None for where `moved` lies.
        """
        with self.stages("resample"):
            (moved,) = self.workplace.carry(
                self.transform, [(read_scan(image), "linear")], grid or self.moved.grid
            )
        return self._named(moved)

    def warp_labels(
        self,
        labels: Scan,
        interpolation: Literal["nearest", "label"] = "nearest",
        *,
        grid: Grid | None = None,
    ) -> Volume:
        """Carry a segmentation of the moving scan onto the fixed scan.

        Parameters
        ----------
        labels
            Path, nibabel image or Volume, on the moving scan's grid.
        interpolation
            ``"nearest"``, or ``"label"``: each label's share of the voxel decides, which gives
            smoother borders; `vote_labels` also says by how much.
        grid
            Where they are to lie, in the fixed world; None for where `moved` lies.

        Returns
        -------
        Volume
            Of the labels' own integer type.

        Raises
        ------
        ScanError
            The labels cannot be read.
        GridMismatchError
            They do not lie on the moving scan's grid.
        """
        with self.stages("labels"):
            volume = self._labels_of_moving(labels)
            (moved,) = self.workplace.carry(
                self.transform, [(volume, interpolation)], grid or self.moved.grid
            )
        return self._named(moved)

    def vote_labels(self, labels: Scan, *, grid: Grid | None = None) -> tuple[Volume, Volume]:
        """Carry a segmentation over by linear voting.

        Returns
        -------
        tuple of Volume
            The label with the largest share of each voxel, in the labels' own type, and that share,
            float32, 0 to 1.
        """
        with self.stages("labels"):
            volume = self._labels_of_moving(labels)
            winners, shares = self.workplace.vote(self.transform, volume, grid or self.moved.grid)
        return self._named(winners), self._named(shares)

    def _labels_of_moving(self, labels: Scan) -> Volume:
        volume = read_labels(labels)
        volume.require_grid(self.transform.moving, "moving")
        return volume

    def _named(self, volume: Volume) -> Volume:
        """A carried image with the header that `moved` has, where it lies on the same grid."""
        header = self.moved.header if volume.grid is self.moved.grid else None
        return Volume(volume.data, volume.grid, header, f"moved {volume.name}")

    def jacobian(self) -> Volume:
        """Volume change ``det J`` of the transform, affine included, on the fixed scan's grid."""
        with self.stages("measure"):
            return self._named(self.workplace.jacobian(self.transform))

    def quality(
        self,
        *,
        moving_labels: Scan | None = None,
        fixed_labels: Scan | None = None,
        moved_labels: Volume | None = None,
        labels: Iterable[int] | None = None,
        local: bool = True,
    ) -> Quality:
        """Measure this registration.

        Parameters
        ----------
        moving_labels, fixed_labels
            Segmentations of the two scans; Dice is measured where both are given.
        moved_labels
            `moving_labels` carried onto the fixed grid, to save doing it again.
        labels
            Labels to measure; None for all that occur in both.
        local
            Also compute the local correlation (the slowest part).

        Raises
        ------
        ScanError
            A segmentation cannot be read.
        GridMismatchError
            A segmentation does not lie on its scan's grid.
        """
        before = after = None
        volumes: dict[int, float] = {}
        moved = moved_labels
        if moving_labels is not None:
            start = self._labels_of_moving(moving_labels)
            if moved is None or moved.grid is not self.transform.fixed:
                moved = self.warp_labels(start, grid=self.transform.fixed)
            if fixed_labels is not None:
                target = read_labels(fixed_labels)
                target.require_grid(self.transform.fixed, "fixed")
                with self.stages("measure"):
                    (aligned,) = self.workplace.carry(
                        self.transform.affine_only(), [(start, "nearest")], self.transform.fixed
                    )
                    wanted = None if labels is None else tuple(labels)
                    before = overlap(aligned.data, target.data, wanted)
                    wanted = tuple(before.labels) if wanted is None else wanted
                    after = overlap(moved.data, target.data, wanted)
        with self.stages("measure"), ThreadPoolExecutor(self.threads) as pool:
            moving, fixed = self.pair.moving, self.pair.fixed
            compare = partial(similarity, local=local)
            counts = None if moved is None else pool.submit(count_labels, moved.data)
            alike_before = pool.submit(compare, moving.data, fixed.data)
            scaled = fixed.with_data(self.moved_scaled())
            alike_after = pool.submit(compare, scaled.data, fixed.data)
            masks = pool.map(foreground, (moving, scaled, fixed))
            regular = measure_regularity(self.displacement, self.transform.fixed, self.threads)
            if moved is not None and counts is not None:
                voxel = abs(float(np.linalg.det(moved.grid.affine[:3, :3])))
                volumes = {label: n * voxel for label, n in counts.result().items() if label}
            mask_before, mask_after, target_mask = masks
            return Quality(
                similarity_before=alike_before.result(),
                similarity_after=alike_after.result(),
                regularity=regular,
                overlap_before=before,
                overlap_after=after,
                foreground_before=mask_dice(mask_before, target_mask),
                foreground_after=mask_dice(mask_after, target_mask),
                outside=self.pair.outside,
                consistency=round_trip(self.transform, self.inverse, fixed)
                if self.inverse
                else None,
                volumes_mm3=volumes,
            )

    def moved_scaled(self) -> NDArray[np.float32]:
        """The moved scan on the model's grid in its intensities, ``(D, H, W)`` float32."""
        return warp_linear(self.pair.moving.data, self.displacement.data, threads=self.threads)
