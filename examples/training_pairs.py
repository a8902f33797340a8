"""Random training pairs from a pool of phantoms: fresh deformations and contrasts each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from demo_net import warp
from phantom import random_contrast
from phantom_anatomy import LEFT_RIGHT, make_anatomy

SHAPE = (80, 96, 112)
HALF = (40, 48, 56)
CROP = (48, 64, 64)
DICE_LABELS = [label for pair in LEFT_RIGHT for label in pair] + [14, 15, 16]
"""Labels in the Dice loss: left-right pairs first, so that a mirror swaps neighbours."""


def make_subject(key: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Make one subject of the pool.

    Parameters
    ----------
    key : tuple of int
        Family and subject number.

    Returns
    -------
    fractions : ndarray, uint8, (C, 80, 96, 112)
        Tissue fractions, 0..255.
    shares : ndarray, uint8, (L, 40, 48, 56)
        Share of each Dice label in the half grid's voxels, 0..255.
    """
    anatomy = make_anatomy(SHAPE, seed=key[1], family=key[0])
    x, y, z = HALF
    blocks = anatomy.labels.reshape(x, 2, y, 2, z, 2)
    shares = np.stack([(blocks == k).mean((1, 3, 5)) for k in DICE_LABELS])
    return anatomy.fractions, np.rint(shares * 255).astype(np.uint8)


def load_pool(path: Path, families: int, subjects: int) -> tuple[Tensor, Tensor]:
    """Read the pool of subjects from a cache file, making it first where it is absent.

    Returns
    -------
    fractions : Tensor, uint8, (families * subjects, C, 80, 96, 112)
    shares : Tensor, uint8, (families * subjects, L, 40, 48, 56)
    """
    if not path.exists():
        keys = [(f, s) for f in range(families) for s in range(subjects)]
        with Pool(2) as workers:
            made = workers.map(make_subject, keys, chunksize=4)
        fractions, shares = (np.stack(part) for part in zip(*made, strict=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, fractions=fractions, shares=shares)
    with np.load(path) as cache:
        return torch.from_numpy(cache["fractions"]), torch.from_numpy(cache["shares"])


def coarsen(pool: Tensor) -> Tensor:
    """Average 2x2x2 blocks of every subject, uint8 in and out, (N, C, X, Y, Z).

    Empty margins are added so that the four poolings of the network still divide every size.
    """
    small = torch.stack([F.avg_pool3d(s.float(), 2).round().to(torch.uint8) for s in pool])
    step = 16 * pool.shape[3] // SHAPE[1]
    margins = [m for n in small.shape[:1:-1] for m in [-n % step // 2] * 2]
    return F.pad(small, margins)


class TrainingPair(NamedTuple):
    """Two images along the first axis; each is the moving one once.

    Attributes
    ----------
    observed, clean : Tensor, float32, (2, 1, X, Y, Z)
        Images as the network sees them and as the loss compares them.
    shares : Tensor, float32, (2, L, X/2, Y/2, Z/2)
        Label shares.
    truth : Tensor, float32, (2, 3, X/2, Y/2, Z/2), or None
        The displacements of both directions in half-grid voxels, where both images show the
        same subject.
    """

    observed: Tensor
    clean: Tensor
    shares: Tensor
    truth: Tensor | None


class PairSource:
    """Random training pairs from the pool.

    Parameters
    ----------
    fractions, shares : Tensor
        The pool, see `load_pool`.
    subjects : int
        Subjects in a family.
    seed : list of int
        Seed of all random choices.
    """

    def __init__(
        self, fractions: Tensor, shares: Tensor, subjects: int, seed: Sequence[int]
    ) -> None:
        self.fractions, self.shares, self.subjects = fractions, shares, subjects
        self.same = 1.0
        # Displacements are drawn in voxels of 4 mm, which a coarser pool has fewer of.
        self.coarse = HALF[1] // shares.shape[3]
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(int(self.rng.integers(2**31)))
        swapped = [k ^ 1 if k < 2 * len(LEFT_RIGHT) else k for k in range(len(DICE_LABELS))]
        self._mirror = torch.tensor(swapped)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def _smooth(self, channels: int, spacing: int, shape: Sequence[int]) -> Tensor:
        """Draw smooth noise of about unit deviation from a lattice, (1, channels, *shape)."""
        points = [n // spacing + 4 for n in shape]
        coarse = F.avg_pool3d(self._normal(1, channels, *points), 3, 1) * 27**0.5
        return F.interpolate(coarse, size=list(shape), mode="trilinear", align_corners=True)

    def _deformation(self, strength: float, shape: Sequence[int]) -> Tensor:
        """Draw a residual affine misfit and a smooth deformation, (1, 3, *shape).

        A strength of 1 moves single points by up to about 8 mm; a pair gets two draws.
        """
        axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        turn = self.rng.normal(0, 0.005, (3, 3))
        matrix = torch.from_numpy((turn - turn.T) + np.diag(self.rng.normal(0, 0.007, 3)))
        affine = torch.einsum("ij,jxyz->ixyz", matrix.float(), grid)
        shift = torch.from_numpy(self.rng.normal(0, 0.2 / self.coarse, 3)).float().view(3, 1, 1, 1)
        u = (affine + shift)[None]
        for spacing, rms in ((12, 1.0), (6, 0.5)):
            size = strength * rms * float(self.rng.uniform(0.2, 1)) / self.coarse
            u = u + size * self._smooth(3, spacing // self.coarse, shape)
        return u

    def _observe(self, clean: Tensor, gain: float) -> Tensor:
        """Give a clean image its own gamma, bias field, noise and gain."""
        image = clean.clamp(min=0) ** math.exp(self.rng.normal(0, 0.05))
        field = self._smooth(1, 24 // self.coarse, clean.shape[2:])
        image = image * torch.exp(self.rng.uniform(0, 0.08) * field)
        image = image + self.rng.uniform(0, 0.03) * self._normal(*image.shape)
        image = image.clamp(min=0) * (gain * math.exp(self.rng.normal(0, 0.04)))
        return torch.where(clean > 0.1, image, image.new_zeros(()))

    def draw(self, size: Sequence[int]) -> TrainingPair:
        """Draw a pair that covers a random part of the grid, of this size in voxels."""
        half = [n // 2 for n in size]
        free = [n - h + 1 for n, h in zip(self.shares.shape[2:], half, strict=True)]
        i, j, k = (int(v) for v in self.rng.integers(free))
        small = np.s_[:, i : i + half[0], j : j + half[1], k : k + half[2]]
        large = np.s_[:, 2 * i : 2 * i + size[0], 2 * j : 2 * j + size[1], 2 * k : 2 * k + size[2]]
        family = int(self.rng.integers(len(self.fractions) // self.subjects))
        same = self.rng.random() < self.same
        pair = self.rng.choice(self.subjects, 2, replace=same) + family * self.subjects
        if same:
            # Two deformations of one subject match exactly: the clearest signal to learn from.
            pair[1] = pair[0]
        kind = "t1" if self.rng.random() < 0.92 else "random"
        table = torch.from_numpy(random_contrast(self.rng, kind))  # type: ignore[arg-type]
        mirror = self.rng.random() < 0.5
        # Scaling by the 99th percentile puts white matter a little below 1.
        gain = math.exp(self.rng.uniform(math.log(0.8), math.log(1.1)))
        clean, shares, deformations = [], [], []
        for index in pair:
            image = torch.einsum("c,cxyz->xyz", table / 255, self.fractions[index][large].float())
            share = self.shares[index][small].float() / 255
            if mirror:
                image, share = image.flip(0), share[self._mirror].flip(1)
            u = self._deformation(1.0 if same else 0.5, half)
            full = F.interpolate(2 * u, size=list(size), mode="trilinear", align_corners=True)
            clean.append(warp(image[None, None], full))
            shares.append(warp(share[None], u))
            deformations.append(u)
        observed = [self._observe(c, gain) for c in clean]
        u, v = deformations
        truth = torch.cat([known_displacement(u, v), known_displacement(v, u)]) if same else None
        return TrainingPair(torch.cat(observed), torch.cat(clean), torch.cat(shares), truth)


def known_displacement(moving: Tensor, fixed: Tensor) -> Tensor:
    """Return u with ``x + u + moving(x + u) = x + fixed(x)``, by fixed-point iteration.

    It registers two deformations, (1, 3, X, Y, Z) in voxels, of one and the same subject.
    """
    u = fixed - moving
    for _ in range(5):
        u = fixed - warp(moving, u)
    return u
