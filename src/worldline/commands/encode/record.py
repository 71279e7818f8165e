"""What ``worldline encode`` found: every experiment's finding, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worldline.commands.encode.config import Name
from worldline.encoder.experiments import Finding, Measurement

__all__ = ["EncoderReport", "ExperimentReport"]


@dataclass(frozen=True, kw_only=True)
class ExperimentReport:
    """One experiment: what the paper claims, what is exact, and what was found.

    Attributes:
        experiment, title: its name, and in words.
        group: the claim of the paper that it belongs to.
        claim, law, shown: the paper's claim, what is exact, and what the figure shows.
        command: that runs it again to the same numbers.
        settings: all of them, by name.
        input: what was encoded.
        replicate: what the finding has several of.
        finding: measurements (the first is the headline), controls, verdict, curves.
        key: of all that decides the finding: settings, inputs, versions.
    """

    experiment: Name
    title: str
    group: str
    claim: str
    law: str
    shown: str
    command: str
    settings: dict[str, int | float]
    input: str
    replicate: str
    finding: Finding
    key: str

    @property
    def table(self) -> str:
        """The file with the numbers behind its figure."""
        return f"{self.experiment}.parquet"

    @property
    def figure(self) -> str:
        """The file with its figure."""
        return f"{self.experiment}.png"


@dataclass(frozen=True, kw_only=True)
class EncoderReport:
    """What a run found.

    Attributes:
        experiment: its name, or ``all``.
        headline: the first number of the experiment, beside its law; None for ``all``.
        agrees: whether every number of every experiment is that of its law.
        verdict: what follows, in words.
        experiments: in the order in which a reader of the paper meets them.
        versions: of what the run was made with.
    """

    schema: Literal["worldline.encode/2"] = "worldline.encode/2"
    experiment: str
    headline: Measurement | None
    agrees: bool
    verdict: str
    experiments: tuple[ExperimentReport, ...]
    versions: dict[str, str]
