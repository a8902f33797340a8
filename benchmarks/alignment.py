"""What the affine alignment costs and reaches on the real scans of ../shared/assets.

    .venv/bin/python benchmarks/alignment.py [--quick] [--output results.json]

Prints a table: CPU seconds and memory of a pair of 256^3 scans, Dice over the 30 labels, how many
random changes of the moving scan's header are undone, orientations, noise, and SimpleITK's affine
(correlation) in the same run where it is installed. Needs the scans; $VM_ASSETS names their folder.
CPU seconds count all threads, so that a busy machine does not distort them much.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import permutations, product
from pathlib import Path
from typing import Any

import click
import nibabel as nib
import numpy as np
from machine import describe_machine
from numpy.typing import NDArray

from vmruntime import Grid, Volume
from vmruntime.alignment import align
from vmruntime.alignment.rotations import rotation_about
from vmruntime.io.images import read_labels, read_scan

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(os.environ.get("VM_ASSETS", ROOT.parent / "shared" / "assets"))
SEED = 2026

Matrix = NDArray[np.float64]
Result = dict[str, Any]


class Pair:
    """The native subject, the test scan and their labels."""

    def __init__(self) -> None:
        scans = ASSETS / "scans"
        self.moving = read_scan(scans / "subject_n_native.mgz")
        self.fixed = read_scan(scans / "test_scan_aligned.nii.gz")
        self.fixed_labels = read_labels(scans / "test_scan_aligned_aseg.nii.gz")
        labels = read_labels(scans / "subject_n_native_aparc_aseg.mgz")
        data = labels.data.copy()
        data[(data >= 11000) & (data < 12000)] = 3
        data[(data >= 12000) & (data < 13000)] = 42
        self.moving_labels = labels.with_data(data)
        with np.load(scans / "voxelmorph_labels.npz") as stored:
            self.classes = [int(label) for label in stored["labels"]]

    def dice(self, matrix: Matrix) -> float:
        """Mean over the labels after one nearest look-up."""
        fixed, moving = self.fixed_labels, self.moving_labels
        to_index = (np.linalg.inv(moving.grid.affine) @ matrix @ fixed.grid.affine)[:3]
        index = np.indices(fixed.grid.shape).reshape(3, -1)
        at = np.rint(to_index[:, :3] @ index + to_index[:, 3:]).astype(int)
        inside = ((at >= 0) & (at < np.array(moving.grid.shape)[:, None])).all(axis=0)
        found = np.zeros(index.shape[1], moving.data.dtype)
        found[inside] = moving.data[tuple(at[:, inside])]
        truth = fixed.data.ravel()
        scores = []
        for label in self.classes:
            one, other = found == label, truth == label
            both = np.count_nonzero(one & other)
            scores.append(2 * both / (np.count_nonzero(one) + np.count_nonzero(other)))
        return statistics.mean(scores)


def corner_error(found: Matrix, expected: Matrix, grid: Grid) -> float:
    """Largest distance at the corners of the fixed field of view, mm."""
    difference = found - expected
    moved = grid.corners @ difference[:3, :3].T + difference[:3, 3]
    return float(np.linalg.norm(moved, axis=1).max())


def judged(pair: Pair, found: Matrix, expected: Matrix) -> str:
    """Corner error and Dice in one phrase."""
    error = corner_error(found, expected, pair.fixed.grid)
    return f"corners {error:.2f} mm, Dice {pair.dice(found):.4f}"


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """A function's result and its CPU seconds."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def in_256_cubed(volume: Volume) -> Volume:
    """The scan in the middle of a field of view of 256^3 voxels."""
    before = [(256 - n) // 2 for n in volume.grid.shape]
    after = [256 - n - b for n, b in zip(volume.grid.shape, before, strict=True)]
    affine = volume.grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ before
    padded = np.pad(volume.data, list(zip(before, after, strict=True)))
    return Volume(padded, Grid(padded.shape, affine))


def cost(pair: Pair, repeats: int) -> Result:
    """CPU seconds, and memory beyond the scans, of a pair of 256^3 scans."""
    fixed = in_256_cubed(pair.fixed)
    result: Result = {}
    for search in ("quick", "full"):
        runs = []
        for _ in range(repeats + 1):
            found, cpu = timed(lambda search=search: align(pair.moving, fixed, search=search))
            runs.append(cpu)
        result[f"{search} CPU s"] = round(statistics.median(runs[1:]), 3)  # the first warms up
        result[f"{search} Dice"] = round(pair.dice(found.matrix), 4)
    tracemalloc.start()
    align(pair.moving, fixed)
    result["peak MB beyond the scans"] = round(tracemalloc.get_traced_memory()[1] / 1e6)
    tracemalloc.stop()
    return result


def perturbations(
    volume: Volume, number: int, *, any_rotation: bool
) -> Iterator[tuple[Matrix, Volume]]:
    """Random changes of the header about the middle of the field of view, and of the intensity."""
    random = np.random.default_rng(SEED)
    grid = volume.grid
    middle = grid.corners.mean(axis=0)
    for _ in range(number):
        axis = random.normal(size=3)
        axis /= np.linalg.norm(axis)
        degrees = random.uniform(0, 45)
        scales, shears = random.uniform(0.8, 1.25, 3), random.uniform(-0.1, 0.1, 3)
        if any_rotation:
            # A uniform direction on the sphere in four dimensions is a uniform rotation.
            q = random.normal(size=4)
            axis, degrees = (
                q[1:] / np.linalg.norm(q[1:]),
                np.degrees(2 * np.arctan2(np.linalg.norm(q[1:]), q[0])),
            )
            scales, shears = np.ones(3), np.zeros(3)
        shear = np.eye(3)
        shear[np.triu_indices(3, 1)] = shears
        direction = random.normal(size=3)
        shift = direction / np.linalg.norm(direction) * random.uniform(0, 60)
        change = np.eye(4)
        change[:3, :3] = rotation_about(np.radians(degrees) * axis) @ np.diag(scales) @ shear
        change[:3, 3] = middle - change[:3, :3] @ middle + shift
        gain = np.float32(0.2 * 25 ** random.random())
        yield change, Volume(volume.data * gain, Grid(grid.shape, change @ grid.affine))


def undone(pair: Pair, expected: Matrix, number: int, search: str) -> Result:
    """How many random changes of the moving header the alignment undoes to 1 mm."""
    errors, dice, cpu, refused = [], [], [], 0
    moving = perturbations(pair.moving, number, any_rotation=search == "full")
    for change, perturbed in moving:
        found, seconds = timed(lambda p=perturbed: align(p, pair.fixed, search=search))
        back = np.linalg.inv(change) @ found.matrix
        errors.append(corner_error(back, expected, pair.fixed.grid))
        dice.append(pair.dice(back))
        cpu.append(seconds)
        refused += not found.plausible
    return {
        "undone": f"{sum(error < 1 for error in errors)} of {number}",
        "worst corner mm": round(max(errors), 3),
        "refused": refused,
        "lowest Dice": round(min(dice), 4),
        "CPU s, slowest": round(max(cpu), 3),
    }


def orientations(pair: Pair, expected: Matrix) -> Result:
    """The moving file in all 48 orientations."""
    image, found = nib.Nifti1Image(pair.moving.data, pair.moving.grid.affine), []
    for axes in permutations(("LR", "PA", "IS")):
        for letters in product(*axes):
            to = nib.orientations.ornt_transform(
                nib.orientations.io_orientation(image.affine),
                nib.orientations.axcodes2ornt(letters),
            )
            turned = image.as_reoriented(to)
            volume = Volume(np.asarray(turned.dataobj), Grid(turned.shape, turned.affine))
            found.append(align(volume, pair.fixed).matrix)
    errors = [corner_error(matrix, expected, pair.fixed.grid) for matrix in found]
    dice = [pair.dice(matrix) for matrix in found]
    return {"worst corner mm": round(max(errors), 3), "lowest Dice": round(min(dice), 4)}


def anisotropic(pair: Pair, expected: Matrix) -> Result:
    """Every second pair of slices averaged, along each axis of the moving scan."""
    result = {}
    for axis, name in enumerate("DHW"):
        data = np.moveaxis(pair.moving.data, axis, 0)
        data = np.moveaxis((data[::2] + data[1::2]) / 2, 0, axis)
        step = np.eye(4)
        step[axis, axis], step[axis, 3] = 2, 0.5
        volume = Volume(data, Grid(data.shape, pair.moving.grid.affine @ step))
        matrix = align(volume, pair.fixed).matrix
        result[name] = judged(pair, matrix, expected)
    return result


def noise(pair: Pair, expected: Matrix) -> Result:
    """Noise of 15 % of the maximum in magnitude images, as a scanner makes them (Rician)."""
    random = np.random.default_rng(SEED)

    def noisy(volume: Volume) -> Volume:
        parts = random.normal(0, 0.15 * 255, (2, *volume.data.shape))
        return volume.with_data(np.hypot(volume.data + parts[0], parts[1]).astype(np.float32))

    result = {}
    for name, fixed in (("moving", pair.fixed), ("both", noisy(pair.fixed))):
        found = align(noisy(pair.moving), fixed)
        result[name] = judged(pair, found.matrix, expected) + " refused" * (not found.plausible)
    return result


def simpleitk(pair: Pair) -> Result:
    """SimpleITK's affine by correlation, three levels, at the end as many samples as `align`."""
    import SimpleITK as sitk  # noqa: N813, the name its documentation uses

    def image(volume: Volume) -> Any:
        lps = np.diag([-1.0, -1, 1, 1]) @ volume.grid.affine
        size = np.linalg.norm(lps[:3, :3], axis=0)
        made = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
        made.SetSpacing(size.tolist())
        made.SetOrigin(lps[:3, 3].tolist())
        made.SetDirection((lps[:3, :3] / size).ravel().tolist())
        return made

    def register() -> Any:
        fixed, moving = image(pair.fixed), image(pair.moving)
        moments = sitk.CenteredTransformInitializerFilter.MOMENTS
        affine = sitk.AffineTransform(3)
        start = sitk.CenteredTransformInitializer(fixed, moving, affine, moments)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsCorrelation()
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentagePerLevel([0.5, 0.1, 0.02], SEED)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsGradientDescent(1.0, 100, 1e-6, 10)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2, 1, 0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetInitialTransform(start, inPlace=False)
        return method.Execute(fixed, moving)

    transform, cpu = timed(register)
    flip = np.diag([-1.0, -1, 1])
    points = np.vstack([np.zeros(3), np.eye(3)]) @ flip
    mapped = np.array([transform.TransformPoint(p.tolist()) for p in points]) @ flip
    matrix = np.eye(4)
    matrix[:3, 3] = mapped[0]
    matrix[:3, :3] = (mapped[1:] - mapped[0]).T
    return {"CPU s": round(cpu, 2), "Dice": round(pair.dice(matrix), 4)}


@click.command()
@click.option("--quick", is_flag=True, help="A tenth of the random changes; no orientations.")
@click.option("--repeats", default=5, show_default=True, help="Runs that are timed.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(quick: bool, repeats: int, output: Path | None) -> None:
    """Measure and print everything."""
    pair = Pair()
    results: dict[str, Result] = {}

    def show(name: str, result: Result) -> None:
        results[name] = result
        for key, value in result.items():
            click.echo(f"| {name} | {key} | {value} |")

    click.echo("| what | figure | value |\n|---|---|---|")
    show("pair of 256^3", cost(pair, repeats))
    aligned = align(pair.moving, pair.fixed)
    dice, correlation = pair.dice(aligned.matrix), aligned.correlation
    show("as the files are", {"Dice": round(dice, 4), "correlation": round(correlation, 4)})
    expected, share = aligned.matrix, 10 if quick else 1
    show("header changed", undone(pair, expected, 60 // share, "quick"))
    show("any rotation, full search", undone(pair, expected, 24 // share, "full"))
    if not quick:
        show("48 orientations", orientations(pair, expected))
    show("2x anisotropic", anisotropic(pair, expected))
    show("15 % noise", noise(pair, expected))
    packages = ["numpy"]
    if importlib.util.find_spec("SimpleITK"):
        show("SimpleITK correlation affine", simpleitk(pair))
        packages.append("SimpleITK")
    if output:
        machine = describe_machine(packages)
        output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
