"""Model repositories for NVIDIA's Triton Inference Server."""

from vmexport.triton.config import ModelConfig, model_config
from vmexport.triton.repository import ModelRepository

__all__ = ["ModelConfig", "ModelRepository", "model_config"]
