"""A model.onnx taken apart, for engines that cannot run it whole.

OpenVINO knows neither 5-D look-ups nor functions of a model's own. It gets the U-Net, and what
follows (resize, integrate, warp) runs beside it. `graph` reads the file, `tail` finds where the
U-Net ends, and `rewrite` has the identities that make its convolutions cheaper.
"""

from __future__ import annotations

__all__: list[str] = []
