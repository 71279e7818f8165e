"""One self-contained HTML page: no request leaves it, and its policy forbids any.

A command's ``page.py`` gives the ``context`` of its templates, ``page.html.j2`` and
``sections.html.j2``; ``commands.base`` fills them.

The template extends ``base.html.j2``, imports ``macros.html.j2`` and gives its figures by
``macros.figure`` (``report/figures.py``). Ids in sections that can be attached begin with
``prefix``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib import resources

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from worldline.plot.colours import LOOKS, heat_colours

__all__ = [
    "HEAT_STEPS",
    "Attached",
    "as_json",
    "fill_template",
    "page_style",
    "read_scripts",
    "render_page",
]

HEAT_STEPS = 21
HOUSE = resources.files("worldline")
SHARED = ("state", "numbers", "drawing", "kinds", "listbox")  # before the scripts of a command
LAST = "start"


@dataclass(frozen=True)
class Attached:
    """The sections of another run, to stand on the page of an exploration.

    Attributes:
        title: the other page's headline.
        sections: markup whose ids start with a prefix of their own, with figures of the shared
            kinds alone.
    """

    title: str
    sections: Markup


def render_page(
    template: str,
    *,
    versions: Mapping[str, str],
    scripts: Sequence[str] = (),
    data: object = None,
    **context: object,
) -> str:
    """A template with the shared style, its scripts and the policy that allows them alone.

    Args:
        template: its name, ``explore/page.html.j2``; it extends ``base.html.j2``.
        versions: of the programs that made the result, for the foot of the page.
        scripts: of the command, as for :func:`read_scripts`.
        data: what these read as ``data``; figures of the shared kinds carry their own.
        context: of the template.
    """
    css, script = page_style(), read_scripts(scripts)
    filled = fill_template(
        template,
        css=Markup(css),
        policy=_policy(script, css),
        script=Markup(script),
        page_data=None if data is None else as_json(data),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        **context,
    )
    return str(filled)


def fill_template(template: str, **context: object) -> Markup:
    """A template of this room, or of a command, everything escaped that is not markup already.

    Those of a command start with its name: ``explore/page.html.j2``.

    ``as_json`` is a filter of all templates.
    """
    return Markup(_environment().get_template(template).render(**context))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("worldline", room) for room in ("commands", "report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_json"] = as_json
    return environment


def read_scripts(names: Sequence[str] = ()) -> str:
    """The shared scripts, then those of commands, then the one that draws all of it.

    A command's scripts share a scope that no other command sees.

    Args:
        names: ``explore/layers`` is ``commands/explore/script/layers.js``.
    """
    scopes: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        command, _, file = name.partition("/")
        path = HOUSE / "commands" / command / "script" / f"{file}.js"
        scopes.setdefault(command, []).append(path.read_text("utf-8"))
    parts = [
        *map(_shared, SHARED),
        *("{\n" + "\n".join(texts) + "}\n" for texts in scopes.values()),
        _shared(LAST),
    ]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _shared(name: str) -> str:
    return (HOUSE / "report" / "script" / f"{name}.js").read_text("utf-8")


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
    return "\n".join([*rules, (HOUSE / "report" / "page.css").read_text("utf-8")])


def as_json(value: object) -> Markup:
    """JSON that no markup can end, of plain values and dataclasses.

    ±∞ are written as ±1e999, which JSON allows and every reader takes for infinity.

    Raises:
        ValueError: a NaN. What is undefined must be None before it comes here.

    >>> from worldline.report.page import as_json
    >>> as_json({"a": (1, float("-inf"), None, "<b>")})
    Markup('{"a":[1,-1e999,null,"\\\\u003cb\\\\u003e"]}')
    """
    text = _json(value)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _json(value: object) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("NaN has no place on a page: what is undefined is None.")
        return repr(float(value)) if math.isfinite(value) else f"{'-' * (value < 0)}1e999"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(k))}:{_json(it)}" for k, it in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_json, value)) + "]"
    if is_dataclass(value):
        return _json({it.name: getattr(value, it.name) for it in fields(value)})
    return json.dumps(value)


def _policy(script: str, css: str) -> str:
    """Only this script and this style sheet are allowed, by hash.

    Nothing is requested, and nothing is evaluated.
    """
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(css)}; img-src data:; "
        f"base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
