"""Measure a demo checkpoint on real scans, which never enter training.

The scans are read from ``$VM_ASSETS`` or from ``shared/assets`` beside the repository, and are
brought to the 2 mm grid of the model: images by the mean of 2x2x2 blocks, labels by the
majority in a block (``--labels nearest`` takes the first voxel instead).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demo_net import DemoNet, load_checkpoint, warp

HERE = Path(__file__).resolve().parent


def assets_folder() -> Path | None:
    """Return the folder with the real scans, or None where there is none."""
    default = HERE.parent.parent / "shared" / "assets"
    scans = Path(os.environ.get("VM_ASSETS", default)) / "scans"
    return scans if scans.is_dir() else None


def block_mean(volume: NDArray[np.generic]) -> NDArray[np.float32]:
    """Average 2x2x2 blocks, (2X, 2Y, 2Z) to (X, Y, Z)."""
    x, y, z = (n // 2 for n in volume.shape)
    blocks = volume.astype(np.float32).reshape(x, 2, y, 2, z, 2)
    mean: NDArray[np.float32] = blocks.mean((1, 3, 5), dtype=np.float32)
    return mean


def block_majority(labels: NDArray[np.generic]) -> NDArray[np.int16]:
    """Take the most frequent label of 2x2x2 blocks, (2X, 2Y, 2Z) to (X, Y, Z)."""
    x, y, z = (n // 2 for n in labels.shape)
    votes = labels.astype(np.int16).reshape(x, 2, y, 2, z, 2).transpose(0, 2, 4, 1, 3, 5)
    votes = votes.reshape(x, y, z, 8)
    counts = (votes[..., :, None] == votes[..., None, :]).sum(-1)
    best = counts.argmax(-1)[..., None]
    majority: NDArray[np.int16] = np.take_along_axis(votes, best, -1)[..., 0]
    return majority


def scale_intensities(image: NDArray[np.float32], rule: str) -> NDArray[np.float32]:
    """Apply an intensity rule of the product: ``divide:N`` or ``percentile:LOW,HIGH``."""
    name, _, value = rule.partition(":")
    if name == "divide":
        return (image / float(value)).astype(np.float32)
    low, high = np.percentile(image[image > 0], [float(v) for v in value.split(",")])
    scaled: NDArray[np.float32] = np.maximum((image - low) / (high - low), 0).astype(np.float32)
    return scaled


def mean_dice(
    a: NDArray[np.int16], b: NDArray[np.int16], labels: NDArray[np.generic]
) -> tuple[float, dict[int, float]]:
    """Return the mean Dice over the labels present in either map, and each of them."""
    each = {}
    for label in labels.tolist():
        size = int((a == label).sum() + (b == label).sum())
        if size:
            each[label] = 2.0 * int(((a == label) & (b == label)).sum()) / size
    return float(np.mean(list(each.values()))), each


def folding_percent(displacement: NDArray[np.float32]) -> float:
    """Return the share of voxels, in percent, where det(I + grad u) <= 0; (3, X, Y, Z)."""
    jacobian = np.stack([np.stack(np.gradient(u)) for u in displacement])
    jacobian += np.eye(3, dtype=np.float32)[:, :, None, None, None]
    a, b, c = jacobian
    det = (a * np.cross(b, c, axis=0)).sum(0)
    return 100.0 * float((det <= 0).mean())


def _tensor(volume: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(volume.astype(np.float32))[None, None]


class RealScans:
    """Real scans on the 2 mm grid, with a registration report for each pair.

    Parameters
    ----------
    folder : Path
        The ``scans`` folder of the assets.
    rule : str
        Intensity rule, see `scale_intensities`.
    label_rule : {"majority", "nearest"}
        How labels come to 2 mm.
    """

    def __init__(self, folder: Path, rule: str, label_rule: str = "majority") -> None:
        self.folder, self.rule, self.label_rule = folder, rule, label_rule
        self.dice_labels = np.load(folder / "voxelmorph_labels.npz")["labels"]

    def _read(self, name: str) -> NDArray[np.generic]:
        image: Any = nib.load(self.folder / f"{name}.nii.gz")
        return np.asarray(image.dataobj)

    def image(self, name: str) -> NDArray[np.float32]:
        """Return a scan on the 0..255 scale of FreeSurfer's norm image, at 2 mm."""
        volume = self._read(f"{name}_aligned")
        # The OASIS files were already divided by 255.
        return block_mean(volume) * np.float32(255 if volume.dtype.kind == "f" else 1)

    def labels(self, name: str) -> NDArray[np.int16] | None:
        """Return the segmentation at 2 mm, or None for a scan without one."""
        if not (self.folder / f"{name}_aligned_aseg.nii.gz").exists():
            return None
        volume = self._read(f"{name}_aligned_aseg")
        if self.label_rule == "nearest":
            return volume[::2, ::2, ::2].astype(np.int16)
        return block_majority(volume)

    def measure(self, net: DemoNet, moving: str, fixed: str) -> dict[str, float]:
        """Register one pair and return its figures, before and after."""
        images = [self.image(n) for n in (moving, fixed)]
        m, f = (_tensor(scale_intensities(i, self.rule)) for i in images)
        with torch.no_grad():
            u = net(m, f)
            moved = warp(_tensor(images[0]), u)[0, 0].numpy()
        report = {"folding_percent": folding_percent(u[0].numpy())}
        for when, image in (("before", images[0]), ("after", moved)):
            report[f"mse_{when}"] = float(np.mean((image - images[1]) ** 2)) / 255**2
            report[f"ncc_{when}"] = float(np.corrcoef(image.ravel(), images[1].ravel())[0, 1])
        pair = self.labels(moving), self.labels(fixed)
        if pair[0] is not None and pair[1] is not None:
            warped = warp(_tensor(pair[0]), u, "nearest")[0, 0].numpy().astype(np.int16)
            report["dice_before"] = mean_dice(pair[0], pair[1], self.dice_labels)[0]
            report["dice_after"], each = mean_dice(warped, pair[1], self.dice_labels)
            report |= {f"dice_{label}": value for label, value in each.items()}
        return report


PAIRS = (
    ("subject_n", "test_scan"), ("test_scan", "subject_n"), ("oasis_a", "oasis_b"),
    ("oasis_b", "oasis_a"), ("test_scan", "oasis_b"), ("oasis_a", "subject_n"),
)  # fmt: skip


def main() -> None:
    """Print the figures of a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?", default=HERE / "demo_model.pt")
    parser.add_argument(
        "--intensity", default="percentile:0,99", help="divide:N or percentile:LOW,HIGH"
    )
    parser.add_argument("--labels", choices=("majority", "nearest"), default="majority")
    parser.add_argument("--each", action="store_true", help="also print Dice of each label")
    args = parser.parse_args()
    folder = assets_folder()
    if folder is None:
        sys.exit("no real scans: set VM_ASSETS to the assets folder (it holds scans/)")
    scans, net = RealScans(folder, args.intensity, args.labels), load_checkpoint(args.checkpoint)
    for moving, fixed in PAIRS:
        r = scans.measure(net, moving, fixed)
        line = f"{moving} -> {fixed}: MSE {r['mse_before']:.5f} -> {r['mse_after']:.5f}"
        line += f", NCC {r['ncc_before']:.3f} -> {r['ncc_after']:.3f}"
        if "dice_after" in r:
            line += f", Dice {r['dice_before']:.3f} -> {r['dice_after']:.3f}"
        print(f"{line}, folding {r['folding_percent']:.4f} %")
        if args.each:
            print("  ", {k: round(v, 2) for k, v in r.items() if k[5:].isdigit()})


if __name__ == "__main__":
    main()
