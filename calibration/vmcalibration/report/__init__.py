"""What was found, as JSON for programs and as one page for people."""

from vmcalibration.report.write import write_reports

__all__ = ["write_reports"]
