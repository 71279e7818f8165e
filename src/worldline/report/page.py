"""One self-contained HTML page: no request leaves it, and its policy forbids any."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from bokeh.embed import json_item
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from worldline.report.content import PAIRS, TWINS, Content, read_content
from worldline.report.figures import build_figures
from worldline.report.words import headline, sentences, titles
from worldline.runs import RunFolder

__all__ = ["render_report", "write_report"]


def write_report(run: RunFolder) -> Path:
    """Render the report of a finished run and store it as ``report.html`` in the run's folder.

    Raises:
        RunError: the folder holds no finished run, or cannot be written.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(wl.runs.ExploreConfig(model="linear", samples=50, steps=5), Path(folder) / "run")
    ...     wl.report.write_report(run).name
    'report.html'
    """
    return run.write_text("report.html", render_report(run))


def render_report(run: RunFolder) -> str:
    """The page as a string; results in, markup out.

    >>> import tempfile, worldline as wl
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wl.runs.explore(wl.runs.ExploreConfig(model="linear", samples=50, steps=5), Path(folder) / "run")
    ...     wl.report.render_report(run).startswith("<!doctype html>")
    True
    """
    content = read_content(run)
    summary = content.summary
    own_script = resources.files("worldline.report").joinpath("page.js").read_text("utf-8")
    scripts = [*Resources(mode="inline", components=["bokeh"], minified=True).js_raw, own_script]
    environment = Environment(
        loader=PackageLoader("worldline.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    figures = {name: json_item(model) for name, model in build_figures(content).items()}
    return environment.get_template("page.html.j2").render(
        content=content,
        summary=summary,
        headline=headline(summary),
        titles=titles(content),
        sentences=sentences(content),
        warned=[check for check in summary["checks"] if check["status"] == "warned"],
        pairs=PAIRS,
        twins=TWINS,
        positions={sample.number: position for position, sample in enumerate(content.samples)},
        versions=", ".join(f"{name} {version}" for name, version in summary["versions"].items()),
        css=Markup(resources.files("worldline.report").joinpath("page.css").read_text("utf-8")),
        policy=_policy(scripts),
        page_data=_json(_page_data(content)),
        figure_data=_json(figures),
        scripts=[Markup(script) for script in scripts],
    )


def _policy(scripts: list[str]) -> str:
    """Only these scripts run; nothing is requested. Bokeh sets style attributes, hence ``unsafe-inline`` for styles."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def _json(value: Any) -> Markup:
    """JSON that no markup can end: <, > and & are escaped inside strings."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _page_data(content: Content) -> dict[str, Any]:
    return {
        "layers": [layer["name"] for layer in content.summary["layers"]],
        "twins": list(TWINS),
        "samples": [asdict(sample) for sample in content.samples],
        "worldlines": content.worldlines,
        "chosen": content.chosen,
        "states": sorted({sample.state for sample in content.samples}),
    }
