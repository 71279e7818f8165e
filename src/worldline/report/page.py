"""One self-contained HTML page: no request leaves it, and its policy forbids any."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from worldline.plot.colours import LOOKS, heat_colours
from worldline.plot.names import tidy

__all__ = ["HEAT_STEPS", "as_json", "fill_template", "page_style", "read_scripts", "render_page"]

HEAT_STEPS = 21


def render_page(
    template: str, *, scripts: list[str], summary: dict[str, Any], **context: Any
) -> str:
    """A template with the shared style, its scripts and the policy that allows them alone."""
    css = page_style()
    versions = tidy(summary["versions"])
    page = fill_template(
        template,
        css=Markup(css),
        policy=_policy(scripts, css),
        scripts=[Markup(script) for script in scripts],
        summary=summary,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        **context,
    )
    return page


def fill_template(template: str, **context: Any) -> str:
    """A template of this room, everything escaped that is not markup already."""
    environment = Environment(
        loader=PackageLoader("worldline.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**context)


def read_scripts(folder: str, names: tuple[str, ...]) -> str:
    """Script files of a folder as one script with a scope of its own."""
    files = resources.files("worldline.report").joinpath(folder)
    parts = [files.joinpath(f"{name}.js").read_text("utf-8") for name in names]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def page_style() -> str:
    """The style sheet: the colours of all figures, light and dark, then what is written by hand."""
    paper = " ".join(f"--{role}: {look.paper};" for role, look in LOOKS.items())
    dark = " ".join(f"--{role}: {look.dark};" for role, look in LOOKS.items())
    rules = [f':root {{ {paper} }} :root[data-theme="dark"] {{ {dark} }}']
    rules.append(
        f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} }} }}'
    )
    rules += [f".{role} {{ --own: var(--{role}); }}" for role in LOOKS]
    for letter, diverging in (("h", False), ("d", True)):
        for step, (back, ink) in enumerate(heat_colours(HEAT_STEPS, diverging=diverging)):
            rules.append(f"td.{letter}{step} {{ background: {back}; color: {ink}; }}")
    return "\n".join(
        [*rules, resources.files("worldline.report").joinpath("page.css").read_text("utf-8")]
    )


def as_json(value: Any) -> Markup:
    """JSON that no markup can end: <, > and & are escaped inside strings."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _policy(scripts: list[str], css: str) -> str:
    """Only these scripts and this style sheet are allowed, by hash; nothing is requested, and
    nothing is evaluated.
    """
    allowed = " ".join(map(_hash, scripts)) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(css)}; img-src data:; "
        f"base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
