"""The page and the plots of a run."""

from manta.report.run.page import write_report
from manta.report.run.plots import write_plots

__all__ = ["write_plots", "write_report"]
