"""The page of the encoder's experiments: claim, figure, law, controls and verdict of each."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from markupsafe import Markup

from worldline.commands.base import Result
from worldline.commands.encode.config import ALL
from worldline.commands.encode.figures import pictures
from worldline.commands.encode.record import EncoderReport
from worldline.commands.encode.tables import compared, evidence, measured
from worldline.commands.encode.words import words
from worldline.report.page import Attached, fill_template, render_page

__all__ = ["attach", "page"]


def page(results: Sequence[Result[EncoderReport]], _attached: Sequence[Attached]) -> str:
    """The page of one run."""
    it = results[0].record
    return render_page(
        "encode/page.html.j2",
        versions=it.versions,
        record=it,
        words=words(it),
        compared=compared(it) if it.experiment == ALL else None,
        sections=_sections(results[0], ""),
    )


def attach(result: Result[EncoderReport], prefix: str) -> Attached:
    """Its sections for another page."""
    return Attached(words(result.record).headline, _sections(result, prefix))


def _sections(result: Result[EncoderReport], prefix: str) -> Markup:
    drawn = pictures(result)
    return Markup(
        fill_template(
            "encode/sections.html.j2",
            prefix=prefix,
            experiments=[
                (
                    it,
                    base64.b64encode(drawn[it.figure]).decode(),
                    measured(it),
                    evidence(it.finding.controls),
                )
                for it in result.record.experiments
            ],
        )
    )
