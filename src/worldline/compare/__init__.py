"""Several models: which share blind spots, predicted without an attack and measured with one."""

from worldline.compare.judging import Agreement, Judgement, Verdict, judge, leave_one_group_out
from worldline.compare.measuring import Measured, SourceResult, measure
from worldline.compare.models import Failure, Loader, Models
from worldline.compare.predicting import Predicted, predict

__all__ = [
    "Agreement",
    "Failure",
    "Judgement",
    "Loader",
    "Measured",
    "Models",
    "Predicted",
    "SourceResult",
    "Verdict",
    "judge",
    "leave_one_group_out",
    "measure",
    "predict",
]
