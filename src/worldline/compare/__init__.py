"""Several models: which share blind spots, predicted without an attack and measured with one."""

from worldline.compare.baseline_scores import Baselines, baselines
from worldline.compare.checks import check_samples
from worldline.compare.clustering import Tree, cluster
from worldline.compare.judging import Agreement, Judgement, Verdict, judge, leave_one_group_out
from worldline.compare.measuring import Measured, SourceResult, measure
from worldline.compare.models import Failure, Loader, Models
from worldline.compare.predicting import Predicted, predict
from worldline.compare.using import Ensemble, Surrogate, diverse, rank_surrogates, surrogate

__all__ = [
    "Agreement",
    "Baselines",
    "Ensemble",
    "Failure",
    "Judgement",
    "Loader",
    "Measured",
    "Models",
    "Predicted",
    "SourceResult",
    "Surrogate",
    "Tree",
    "Verdict",
    "baselines",
    "check_samples",
    "cluster",
    "diverse",
    "judge",
    "leave_one_group_out",
    "measure",
    "predict",
    "rank_surrogates",
    "surrogate",
]
