"""Many pairs: a cohort registered by Dask workers, resumed, fused and reported; ``vm-batch``.

::

    pairs_file, cohort      which pairs there are                       `Pair`
    settings, layout        how they are registered, where files go     `Settings`, `Layout`
    content, record         what was finished before, by content        `Record`
    desk, plugin            what a worker does: one Registrar a process
    cluster, slurm          workers here, the user's own, or SLURM's
    plan, run, progress     submitting, counting, stopping in order
    planes, vote, fuse      several atlases into one segmentation, plane by plane
    results, page           tables, and one page of the cohort

Importing this package loads neither Dask nor an inference engine.
"""

from vmruntime.batch.errors import BatchError
from vmruntime.batch.pair import Pair
from vmruntime.batch.settings import Settings

__all__ = ["BatchError", "Pair", "Settings"]
