"""Reading trained VoxelMorph networks, PyTorch and Keras, into modules of our own."""

from vmexport.checkpoints.checkpoint import Checkpoint, read_checkpoint
from vmexport.checkpoints.errors import CheckpointError, UnsafeCheckpointError

__all__ = ["Checkpoint", "CheckpointError", "UnsafeCheckpointError", "read_checkpoint"]
