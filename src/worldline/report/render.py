"""A run's report, whatever kind of run it was."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from worldline.errors import RunError
from worldline.runs import RunFolder

__all__ = ["render_report", "write_report"]

KINDS = {  # schema → package with a render(run)
    "worldline.explore/1": "explore",
    "worldline.compare/1": "compare",
    "worldline.distant/1": "distant",
    "worldline.encode/1": "encode",
    "worldline.doctor/1": "doctor",
}


def write_report(run: RunFolder) -> Path:
    """Render the report of a finished run and store it as ``report.html`` in the run's folder.

    Pictures that the page shows and that are of use alone (``worldline encode``) are stored beside it as PNG.

    Raises:
        RunError: the folder holds no finished run, one of another version, or cannot be written.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(wl.runs.ExploreConfig(model="linear", samples=50, steps=5), Path(folder) / "run")
    ...     wl.report.write_report(run).name
    'report.html'
    """
    page, pictures = _render(run)
    for name, picture in pictures.items():
        run.write_bytes(name, picture)
    return run.write_text("report.html", page)


def render_report(run: RunFolder) -> str:
    """The page as a string; results in, markup out.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(wl.runs.ExploreConfig(model="linear", samples=50, steps=5), Path(folder) / "run")
    ...     wl.report.render_report(run).startswith("<!doctype html>")
    True
    """
    return _render(run)[0]


def _render(run: RunFolder) -> tuple[str, dict[str, bytes]]:
    """The page, and pictures by the names of their files."""
    schema = str(run.read_json("summary.json").get("schema"))
    if schema not in KINDS:
        raise RunError(f"{run.path} has schema {schema!r}; this version reads {', '.join(KINDS)}.")
    package = import_module(f"worldline.report.{KINDS[schema]}")  # each loads another drawing library
    page, pictures = package.render(run)
    return page, pictures
