"""Which number format is safe for one's own registration model, measured in mm and Dice.

`calibrate` does everything; ``vm-calibrate`` is its command. The parts: `pairs` and `loading` read
the scans, `ranges` collects what flows through the U-Net (`walk`, `histogram`), `thresholds` and
`sharing` say where INT8 cuts off, `trial`, `sensitivity` and `planning` find the layers that have
to stay float32, `evaluation` and `timing` measure the candidates, `decision` recommends one, and
`report` writes it down.
"""

from vmcalibration.calibrate import Calibrated, calibrate
from vmcalibration.errors import CalibrationError
from vmcalibration.options import CalibrationOptions

__all__ = ["Calibrated", "CalibrationError", "CalibrationOptions", "calibrate"]
