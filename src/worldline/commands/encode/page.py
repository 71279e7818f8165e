"""The page of the encoder's experiments: claim, figure, law, controls and verdict of each."""

from __future__ import annotations

import base64

from worldline.commands.base import Result
from worldline.commands.encode.config import ALL
from worldline.commands.encode.figures import pictures
from worldline.commands.encode.record import EncoderReport
from worldline.commands.encode.tables import compared, evidence, measured

__all__ = ["context"]


def context(result: Result[EncoderReport], _prefix: str) -> dict[str, object]:
    """What its templates show beside the record and the words."""
    record, drawn = result.record, pictures(result)
    return {
        "compared": compared(record) if record.experiment == ALL else None,
        "experiments": [
            (
                it,
                base64.b64encode(drawn[it.figure]).decode(),
                measured(it),
                evidence(it.finding.controls),
            )
            for it in record.experiments
        ],
    }
