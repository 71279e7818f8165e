"""What ``worldline encode`` found, in sentences."""

from __future__ import annotations

from worldline.commands.base import Result
from worldline.commands.encode.config import ALL
from worldline.commands.encode.record import EncoderReport, ExperimentReport
from worldline.commands.encode.tables import as_the_law, measured
from worldline.report.numbers import count
from worldline.report.views import View, Words

__all__ = ["views", "words"]


def words(record: EncoderReport) -> Words:
    """The headline, then the verdict of each experiment; of a single one what its controls show."""
    found = tuple(f"{it.title}: {it.finding.verdict}" for it in record.experiments)
    if record.experiment == ALL:
        return Words(f"The selecting encoder: {record.verdict.rstrip('.')}", found)
    it = record.experiments[0]
    shown = (f"Control, {name}: {made.sentence}" for name, made in it.finding.controls.named())
    return Words(f"{it.title}: {as_the_law(it)}", (*found, *shown))


def views(result: Result[EncoderReport]) -> dict[str, View]:
    """One view for each experiment: claim, verdict, and its numbers beside the law's."""
    return {it.experiment: _view(it) for it in result.record.experiments}


def _view(it: ExperimentReport) -> View:
    basis = f"{count(it.finding.replicas, 'independent encoder')}; standard errors"
    return View(it.title, f"{it.claim} {it.finding.verdict}", basis, measured(it))
