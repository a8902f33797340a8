"""Register by ANTs; runs in an environment of its own, since antspyx asks for an older numpy.

    ants_register.py SETTING MOVING FIXED LABELS FOLDER

Writes ``moved.nii``, ``labels.nii`` and ``warp.nii.gz`` (ITK's displacement, without the affine).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def main() -> None:
    """Register, carry the labels, save."""
    setting, moving, fixed, labels, folder = sys.argv[1:]
    import ants

    scans = [ants.image_read(path) for path in (fixed, moving)]
    say("register")
    found = ants.registration(*scans, type_of_transform=setting)
    say("carry")
    carried = ants.apply_transforms(
        scans[0], ants.image_read(labels).clone("float"), found["fwdtransforms"],
        interpolator="nearestNeighbor",
    )  # fmt: skip
    say("write")
    ants.image_write(found["warpedmovout"], f"{folder}/moved.nii")
    ants.image_write(carried, f"{folder}/labels.nii")
    warp = next(path for path in found["fwdtransforms"] if path.endswith(".nii.gz"))
    shutil.copyfile(warp, Path(folder) / "warp.nii.gz")


def say(stage: str) -> None:
    """Tell on stderr what begins."""
    print(f"{stage} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
