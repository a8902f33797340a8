"""What registering one pair gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import GridMismatchError
from vmruntime.intensity import IntensityRule
from vmruntime.io.images import Scan, read_labels
from vmruntime.quality import Quality, overlap, regularity, similarity
from vmruntime.stages import Stages
from vmruntime.transform import Transform
from vmruntime.volume import Volume

__all__ = ["Registration"]


@dataclass(frozen=True, eq=False)
class Registration:
    """A registered pair.

    Parameters
    ----------
    moved
        The moving scan on the fixed grid, float32, in its own intensities, with the fixed scan's
        header.
    transform
        Fixed to moving: it carries images from the moving onto the fixed grid.
    inverse
        The other way round, where it was asked for.
    moving, fixed
        Both scans as the network saw them, in the model's intensities.
    moving_rule
        The rule that scaled the moving scan.
    stages
        Seconds of each stage; `timings` as a mapping.
    warnings
        What looks doubtful, one line each.
    threads
        Threads for later work on this result.
    """

    moved: Volume
    transform: Transform
    inverse: Transform | None
    moving: Volume
    fixed: Volume
    moving_rule: IntensityRule
    stages: Stages
    warnings: tuple[str, ...]
    threads: int

    @property
    def timings(self) -> Mapping[str, float]:
        """Wall-clock seconds of each stage so far."""
        return self.stages.seconds

    def warp_labels(self, labels: Scan) -> Volume:
        """Carry a segmentation of the moving scan onto the fixed scan.

        Parameters
        ----------
        labels
            Path, nibabel image or Volume on the moving scan's grid.

        Returns
        -------
        Volume
            On the fixed grid, nearest neighbour, of the labels' own integer type.

        Raises
        ------
        ScanError
            The labels cannot be read.
        GridMismatchError
            They do not lie on the moving scan's grid.
        """
        with self.stages("labels"):
            volume = read_labels(labels)
            moved = self.transform.apply(volume, "nearest", threads=self.threads)
        return Volume(moved.data, self.fixed.grid, self.fixed.header, f"moved {volume.name}")

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
            What `warp_labels` gave for `moving_labels`, to save warping them again.
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
        if moving_labels is not None and fixed_labels is not None:
            start, target = read_labels(moving_labels), read_labels(fixed_labels)
            if not target.grid.matches(self.fixed.grid):
                raise GridMismatchError(
                    f"{target.name} lies on {target.grid.describe()}, not on the fixed scan's grid "
                    f"{self.fixed.grid.describe()}; resample it onto the fixed scan first"
                )
            moved = moved_labels or self.warp_labels(start)
            wanted = None if labels is None else tuple(labels)
            with self.stages("measure"):
                before = overlap(start.data, target.data, wanted)
                after = overlap(
                    moved.data, target.data, tuple(before.labels) if wanted is None else wanted
                )
        with self.stages("measure"):
            return Quality(
                similarity(self.moving.data, self.fixed.data, local=local),
                similarity(self.moved_scaled(), self.fixed.data, local=local),
                regularity(self.transform.displacement.data, threads=self.threads),
                before,
                after,
            )

    def moved_scaled(self) -> NDArray[np.float32]:
        """The moved scan in the model's intensities, ``(D, H, W)`` float32."""
        if self.moving_rule.is_proportional:
            return self.moving_rule.apply(self.moved.data)
        scaled: NDArray[Any] = self.transform.apply(self.moving, threads=self.threads).data
        return scaled
