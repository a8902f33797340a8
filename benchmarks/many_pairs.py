"""Register the pair several times in one process, files in and files out, as a cohort is done.

    many_pairs.py MODEL COUNT EMPTY_FOLDER

Says on stderr what begins.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Load once, register and save each."""
    model, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    print("import ...", file=sys.stderr, flush=True)
    from pair import FILES

    from vmruntime import Registrar

    with Registrar.load(model, backend="openvino", precision="fp32") as registrar:
        for index in range(count):
            print(f"pair {index} ...", file=sys.stderr, flush=True)
            result = registrar.register(
                FILES["moving"], FILES["fixed"], labels=[FILES["moving_seg"]]
            )
            result.moved.save(folder / f"moved_{index}.nii.gz")
            result.moved_labels[0].save(folder / f"labels_{index}.nii.gz")


if __name__ == "__main__":
    main()
