"""Pages of the site that are made of something else, so that each thing is said in one place.

``mkdocs`` calls this (``hooks`` in mkdocs.yml): README.md becomes the start page, the words of the
report's guide the glossary, CHANGELOG.md and the scripts of examples/ a page each, the options of a
command its page with its call and its record, and each room a page of its public names.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "worldline"
sys.path.insert(0, str(ROOT / "src"))

from worldline import commands  # noqa: E402  # of this checkout
from worldline.runs.config import Described, options_of  # noqa: E402

CALLS = {"compare": "compare_models"}  # where the call has another name than its command
WITHIN = ("__main__", "calls", "cli", "commands", "files", "notebook", "report", "runs")
# "epsilon, norm: …" of a docstring is read as epsilon of the type norm
SEVERAL = re.compile(r"(\w+),(</span></code></b>|</code></b>)\s*\(<code>\((.+?)\)</code>\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for place, text in pages():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Examples with prompts are coloured as what they are."""
    return markdown.replace("```python\n>>>", "```pycon\n>>>")


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Names that a docstring explains together stand together."""
    return SEVERAL.sub(r"\1, \3\2", html)


def pages() -> Iterator[tuple[str, str]]:
    """(place, Markdown) of each page."""
    yield "index.md", start()
    yield "glossary.md", glossary()
    yield "changelog.md", (ROOT / "CHANGELOG.md").read_text("utf-8")
    yield "examples.md", examples()
    for name in commands.COMMANDS:
        yield f"reference/commands/{name}.md", command_page(name)
    for name in rooms():
        yield f"reference/{name}.md", f"# wl.{name}\n\n::: worldline.{name}\n"


def start() -> str:
    """README.md, with its links as seen from the site."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = text.replace("](docs/report.md#words)", "](glossary.md)").replace("](docs/", "](")
    return text.replace("](examples)", "](examples.md)")


def glossary() -> str:
    """The words of the guide that every page of ``explore`` carries."""
    words = section(SOURCE / "report" / "guide.md", "Words")
    return "# Glossary\n\n" + re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", words)


def section(file: Path, heading: str) -> str:
    """What stands under a heading, up to the next one of its level."""
    parts = re.split(r"^## (.+)$", file.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading].strip() + "\n"


def examples() -> str:
    """The scripts of examples/, under the first line of what each says of itself."""
    text = "# Examples to copy\n\nEach runs as it stands: `python examples/NAME.py`.\n"
    for file in sorted((ROOT / "examples").glob("*.py")):
        code = file.read_text("utf-8")
        title = (ast.get_docstring(ast.parse(code)) or file.stem).splitlines()[0].rstrip(".")
        text += f'\n## {title}\n\n```python title="examples/{file.name}"\n{code}```\n'
    return text


def command_page(name: str) -> str:
    """A command's options, its call and its record."""
    kind = commands.config_of(name)
    record = f"worldline.commands.{name}.record"
    said = (kind.__doc__ or "").split("\n\n")[0]
    options = sorted(options_of(kind), key=lambda it: not it.option.positional)
    rows = "\n".join(row(it) for it in options)
    return (
        f"# worldline {name}\n\n{said}\n\n| option | default | what it says |\n|---|---|---|\n"
        f"{rows}\n\n## In Python\n\n::: worldline.calls.{CALLS.get(name, name)}\n"
        "    options: {show_root_heading: true, heading_level: 3}\n"
        f"\n## Its record\n\n::: {record}\n    options: {{heading_level: 3}}\n"
    )


def row(it: Described) -> str:
    """One line of a table of options."""
    choices = [repr(value) for value in get_args(it.plain) if isinstance(value, str)]
    value = it.option.metavar or " or ".join(choices).replace("'", "")
    flag = it.flag if it.plain is bool or it.option.positional else f"{it.flag} {value}".strip()
    default = it.default if it.default not in ("", (), None, False) else "–"
    if isinstance(default, tuple):
        default = ",".join(format(part, "g") for part in default)
    said = re.sub(r"\s*\[default: (.+)\]", r" Without it: \1.", it.option.help)
    shown = default if default == "–" else f"`{default}`"
    return f"| `{flag}` | {shown} | {said.replace('|', chr(92) + '|')} |"


def rooms() -> list[str]:
    """Rooms that have something to offer in Python: those with public names."""
    found = []
    for path in sorted([*SOURCE.glob("*.py"), *SOURCE.glob("*/__init__.py")]):
        name = path.parent.name if path.name == "__init__.py" else path.stem
        if path.parent == SOURCE and path.stem == "__init__":
            continue
        public = re.search(r"^__all__ = \[\s*[\"']", path.read_text("utf-8"), re.MULTILINE)
        if public and name not in WITHIN:
            found.append(name)
    return found
