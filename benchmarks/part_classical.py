"""ANTs on the same pair and machine, and what others published, which is not comparable as such."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import commands
import learn2reg
import nibabel as nib
import numpy as np
import pair
from context import Context
from numpy.typing import NDArray
from workers import environment

from vmruntime.io.images import read_labels, read_scan
from vmruntime.quality import regularity

__all__ = ["PUBLISHED", "measure", "voxel_displacement"]

ANTSPYX = "antspyx==0.6.3"

PUBLISHED = {
    "source": "Balakrishnan et al., VoxelMorph, IEEE TMI 38 (2019), table I: seconds for one "
    "pair on the authors' machines, Dice over 30 structures on their own test scans",
    "rows": [
        {"method": "ANTs SyN, CPU", "wall": 9059, "dice": 0.749},
        {"method": "NiftyReg, CPU", "wall": 2347, "dice": 0.755},
        {"method": "VoxelMorph, CPU", "wall": 57, "dice": 0.753},
        {"method": "VoxelMorph, GPU", "wall": 0.45, "dice": 0.753},
    ],
}


def measure(context: Context) -> dict[str, Any]:
    """Each setting once, in a fresh process, up to the limit."""
    rows: list[dict[str, Any]] = []
    try:
        python = ants_python(context)
    except RuntimeError as error:
        rows += [{"setting": name, "unavailable": str(error)} for name in context.ants_settings]
    else:
        rows += [one_setting(context, python, name) for name in context.ants_settings]
    return {
        "threads": context.threads,
        "limit_seconds": context.ants_limit,
        "package": ANTSPYX,
        "rows": rows,
        "published": PUBLISHED,
    }


def ants_python(context: Context) -> Path:
    """An interpreter that has antspyx, in ``build/``; made when first needed.

    Raises
    ------
    RuntimeError
        It cannot be installed here.
    """
    folder = pair.ROOT / "build" / ANTSPYX.replace("==", "-")
    python = folder / "bin" / "python"
    if not list(folder.glob("lib/python*/site-packages/antspyx-*")):
        context.say(f"classical: installing {ANTSPYX}")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        command: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--only-binary",
            ":all:",
            ANTSPYX,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise RuntimeError(f"{ANTSPYX} cannot be installed: {last}")
    return python


def one_setting(context: Context, python: Path, setting: str) -> dict[str, Any]:
    """Run ANTs and judge what it wrote."""
    context.say(f"classical: ANTs {setting}, at most {context.ants_limit:.0f} s")
    folder = context.folder / f"ants {setting}"
    folder.mkdir(exist_ok=True)
    inputs = [pair.FILES[name] for name in ("moving", "fixed", "moving_seg")]
    script = Path(__file__).with_name("ants_register.py")
    try:
        ran = commands.run(
            [python, script, setting, *inputs, folder],
            environment(context.threads), context.ants_limit,
        )  # fmt: skip
    except (RuntimeError, TimeoutError) as error:
        return {"setting": setting, "unavailable": str(error)}
    carried = read_labels(folder / "labels.nii").data
    field = voxel_displacement(folder / "warp.nii.gz")
    found = regularity(field)
    agreed = learn2reg.labels_agree(
        pair.labels_of("fixed").data, pair.labels_of("moving").data, carried, pair.wanted_labels()
    )
    return {
        "setting": setting,
        "wall": ran.wall,
        "cpu": ran.cpu,
        "peak_gb": ran.peak_gb,
        "stages": ran.stages,
        **pair.judge_carried(read_scan(folder / "moved.nii").data, carried),
        "folding_voxels": found.folding_voxels,
        "folding_percent": found.folding_percent,
        "learn2reg": {
            **agreed,
            "sd_log_j": learn2reg.sd_log_j(field),
            "folding_voxels": learn2reg.folding_voxels(field),
        },
    }


def voxel_displacement(path: Path) -> NDArray[np.float32]:
    """ITK's displacement field, LPS millimetres, as ``(3, D, H, W)`` voxels of its own grid."""
    image: Any = nib.load(path)
    lps = np.asarray(image.dataobj, np.float64)[:, :, :, 0]
    ras = lps * np.array([-1, -1, 1])
    voxels = ras @ np.linalg.inv(image.affine[:3, :3]).T
    return np.ascontiguousarray(np.moveaxis(voxels, -1, 0), np.float32)
