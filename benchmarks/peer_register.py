"""What a VoxelMorph user writes to register a pair and carry labels: the peer of ``vm-infer``.

    peer_register.py MODEL.pt MOVING FIXED LABELS MOVED MOVED_LABELS [--tuned]

voxelmorph 0.2 and nibabel do everything, as its scripts/torch/register.py does (whose own reading
of files fails with today's nibabel). ``--tuned`` adds what a user who knows PyTorch would: no
gradients and channels_last_3d. Says on stderr what begins, like ``vm-infer -v``.
"""

from __future__ import annotations

import inspect
import os
import sys
from typing import Any


def main() -> None:
    """Read, register, carry the labels, save."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--tuned"]
    tuned = len(arguments) < len(sys.argv) - 1
    checkpoint, moving_file, fixed_file, labels_file, moved_file, moved_labels_file = arguments

    say("import")
    os.environ["VXM_BACKEND"] = os.environ["NEURITE_BACKEND"] = "pytorch"
    # voxelmorph 0.2 uses a function that Python 3.11 no longer has.
    inspect.getargspec = lambda f: inspect.getfullargspec(f)[:4]  # type: ignore[attr-defined]
    import nibabel as nib
    import numpy as np
    import torch
    import voxelmorph as vxm

    torch.set_grad_enabled(not tuned)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))

    say("load")
    model = vxm.networks.VxmDense.load(checkpoint, "cpu")
    model.to("cpu")
    model.eval()
    layout = torch.channels_last_3d if tuned else torch.contiguous_format
    model = model.to(memory_format=layout)

    say("read")
    images: dict[str, Any] = {
        name: nib.load(name) for name in (moving_file, fixed_file, labels_file)
    }
    moving, fixed, labels = (
        torch.from_numpy(image.get_fdata()).float()[None, None] for image in images.values()
    )
    moving, fixed = (scan / 255 for scan in (moving, fixed))
    moving, fixed = (scan.contiguous(memory_format=layout) for scan in (moving, fixed))

    say("network")
    moved, warp = model(moving, fixed, registration=True)

    say("labels")
    nearest = vxm.layers.SpatialTransformer(tuple(labels.shape[2:]), mode="nearest")
    moved_labels = nearest(labels, warp)

    say("write")
    affine = images[fixed_file].affine
    stored = images[labels_file].get_data_dtype()
    moved_array = moved.detach().cpu().numpy().squeeze()
    labels_array = moved_labels.detach().cpu().numpy().squeeze()
    nib.save(nib.Nifti1Image(moved_array, affine), moved_file)
    nib.save(nib.Nifti1Image(np.rint(labels_array).astype(stored), affine), moved_labels_file)
    say("end")


def say(stage: str) -> None:
    """Tell on stderr what begins."""
    print(f"{stage} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
