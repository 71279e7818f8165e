"""One self-contained HTML page: no request leaves it, and its policy forbids any."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["as_json", "render_page"]


def render_page(template: str, *, scripts: list[str], summary: dict[str, Any], **context: Any) -> str:
    """A template with the shared style, its scripts and the policy that allows them alone."""
    environment = Environment(
        loader=PackageLoader("worldline.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(
        css=Markup(resources.files("worldline.report").joinpath("page.css").read_text("utf-8")),
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],
        summary=summary,
        versions=", ".join(f"{name} {version}" for name, version in summary["versions"].items()),
        **context,
    )


def as_json(value: Any) -> Markup:
    """JSON that no markup can end: <, > and & are escaped inside strings."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _policy(scripts: list[str]) -> str:
    """Only these scripts run; nothing is requested. Bokeh sets style attributes, hence ``unsafe-inline`` for styles."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
