"""Whether the evaluation can be trusted, as the page says it."""

from __future__ import annotations

from worldline.commands.doctor.words import checks_table
from worldline.commands.explore.record import Exploration
from worldline.report.numbers import count
from worldline.report.views import View

__all__ = ["trust_view"]


def trust_view(record: Exploration) -> View:
    """Which checks warn."""
    checks = record.checks
    warned = [check.name for check in checks if check.status == "warned"]
    idle = sum(check.status == "not applicable" for check in checks)
    basis = f"n = {count(len(checks), 'check')}"
    basis += f", {idle} of which do not apply" if idle else ""
    table = checks_table(checks)
    question = "Can this evaluation be trusted?"
    if len(checks) == idle:
        return View(f"{question} It was not checked.", "No check applies.", basis, table)
    if warned:
        verb = "warns" if len(warned) == 1 else "warn"
        title = f"{question} {len(warned)} of {count(len(checks), 'check')} {verb}."
        sentence = f"Not as it stands: look at {', '.join(warned)} first."
        return View(title, sentence, basis, table)
    return View(
        f"{question} None of {count(len(checks), 'check')} warns.",
        "Nothing speaks against it. A determined failure can still pass such checks, and another "
        "attack may do better: accuracy under an attack is an upper bound on robustness.",
        basis,
        table,
    )
