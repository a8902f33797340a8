"""Trained VoxelMorph networks to artifacts that vmruntime runs. The only code that imports torch.

::

    from vmexport.artifact import ExportOptions, export_artifact

    export_artifact("model.pt", "model.onnx", ExportOptions(precision="fp16"))
"""
