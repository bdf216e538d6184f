"""Scores of any method's masks by the conventions of the data sets: `mmvs score`."""

from mmvs.scoring.report import Fault, Report
from mmvs.scoring.request import DATA_SETS, Request
from mmvs.scoring.scoring import score

__all__ = ["DATA_SETS", "Fault", "Report", "Request", "score"]
