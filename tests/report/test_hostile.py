"""Names from outside are text, whatever they hold: none runs, and none breaks the page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldline.commands.rendering import write_formats, write_report
from worldline.plot.names import LONGEST_NAME, tidy_name
from worldline.report.page import as_json, fill_template
from worldline.report.views import Table, View, Words
from worldline.runs.codec import from_json, to_json
from worldline.runs.store import RunFolder

HOSTILE = [
    '</script><script>document.title="ran"</script>',
    "<img src=x onerror=\"document.title='ran'\">",
    "\"'><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}${alert(1)}",
    "W" * 10_000,
    "\u202egnirts a \u2067 שלום \u2066",
    "👩‍👩‍👧‍👦🏴‍☠️" * 20,
    "null\x00byte\x1b[31m\x7f",
    "lone\ud800surrogate",
    "javascript:alert(1)//\u2028\u2029<!--",
]
TEXT = st.text(st.characters(), max_size=300) | st.sampled_from(HOSTILE)


class Counter(HTMLParser):
    """Tags of a page, and its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.told: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.told.append(data)


@pytest.mark.law
@given(name=TEXT)
def test_a_tidy_name_is_short_printable_and_keeps_its_direction_to_itself(name: str) -> None:
    shown = tidy_name(name)
    assert len(shown) <= LONGEST_NAME + 2
    shown.encode("utf-8")
    inner = shown.removeprefix("\u2068").removesuffix("\u2069")
    assert not re.search(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", inner
    )
    plain = "plain name, 8×8 – “ReLU”"
    assert tidy_name(plain) == plain


@pytest.mark.law
@given(words=st.lists(TEXT.map(tidy_name), min_size=6, max_size=6))
@settings(max_examples=40)
def test_any_words_are_rendered_as_text(words: list[str]) -> None:
    title, sentence, basis, head, cell, other = words
    view = View(title, sentence, basis, Table((head, "b"), ((cell, other),)))
    markup = fill_template("explore/sections/models.html.j2", side=view, models=[])
    empty = fill_template(
        "explore/sections/models.html.j2",
        side=View("", "", "", Table(("", "b"), (("", ""),))),
        models=[],
    )
    found, expected = Counter(), Counter()
    found.feed(markup)
    expected.feed(empty)
    assert found.tags == expected.tags
    text = "".join(found.told)
    for word in words:
        assert re.sub(r"\r\n?", "\n", word).replace("\x00", "\ufffd") in text
    data = as_json(words)
    assert not set("<>&") & set(data)
    assert json.loads(data) == words


@pytest.mark.law
def test_half_a_character_of_a_name_is_written_and_read_as_a_question_mark() -> None:
    """Names of files need not be UTF-8; writing one into a record was an internal failure."""
    assert from_json(Words, to_json(Words("a\udcffb")), "here").headline == "a?b"


@pytest.mark.end_to_end
def test_hostile_names_are_shown_as_text_and_nothing_runs(
    visitor, explored, other, copy_of
) -> None:
    summary = json.loads(explored.folder.read_text("summary.json"))
    layers = [
        {**layer, "name": name} for layer, name in zip(summary["layers"], HOSTILE[:5], strict=True)
    ]
    run = copy_of(explored)
    changes = {
        "model": HOSTILE[0],
        "data": HOSTILE[6],
        "class_names": HOSTILE,
        "layers": layers,
        "notes": HOSTILE,
        "attack": HOSTILE[1] + ":x",
    }
    changes["checks"] = [
        {**check, "sentence": HOSTILE[2], "source": HOSTILE[5]} for check in summary["checks"]
    ]
    (run.folder.path / "summary.json").write_text(
        json.dumps({**summary, **changes})
    )  # a lone surrogate as an escape
    requested = visitor.open(write_report(run.folder, beside=[other.folder]))
    check_harmless(visitor, requested)
    assert '</script><script>document.title="ran"</script>' in visitor.text("h1")
    for layer in range(5):
        visitor.run(
            "const it = document.getElementById('choose-layer'); it.value = arguments[0]; "
            "it.dispatchEvent(new Event('change'))",
            str(layer),
        )
    for _ in range(4):
        visitor.click("#next-sample")
    visitor.run("for (const it of document.querySelectorAll('details')) it.open = true")
    check_harmless(visitor, [])
    for form in ("md", "json", "svg"):
        assert write_formats(run.folder, [form])
    text = (run.folder.path / "report.md").read_text()
    assert "<script" not in text
    assert "<img" not in text


@pytest.mark.end_to_end
@pytest.mark.parametrize("kind", ["searched", "compared"])
def test_hostile_names_on_the_other_pages(kind: str, visitor, request, tmp_path: Path) -> None:
    run = request.getfixturevalue(kind).folder
    for place, name in enumerate(HOSTILE[:3] + HOSTILE[4:9:2]):
        copy = RunFolder(tmp_path / str(place))
        text = (run.path / "summary.json").read_text()
        for known in ("mlp", "cnn", "digits", "relu1", "relu3"):
            text = text.replace(
                f'"{known}"', json.dumps(name if known in ("mlp", "relu1") else f"{known}{name}")
            )
        copy.write_text("summary.json", text)
        if (run.path / "inputs.safetensors").exists():
            copy.write_bytes("inputs.safetensors", (run.path / "inputs.safetensors").read_bytes())
        check_harmless(visitor, visitor.open(write_report(copy)))


def check_harmless(visitor, requested: list[str]) -> None:
    assert all(url.startswith(("file:", "data:")) for url in requested)
    assert visitor.browser.title.startswith("Worldline: ")
    assert (
        visitor.browser.find_elements(
            "css selector", "img[src='x'], svg[onload], main script:not([type])"
        )
        == []
    )
    assert visitor.browser.complaints() == []
    assert visitor.run("return document.documentElement.scrollWidth <= innerWidth")
