"""Figures of the shared kinds are drawn from what the page carries, infinite and missing too."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest

from worldline.report import page
from worldline.report.drawn import draw
from worldline.report.figures import (
    Bar,
    Bars,
    Figure,
    Level,
    Lines,
    Series,
    Sparkline,
    Tree,
    Waterfall,
)
from worldline.report.heat import HeatMap

INFINITY = math.inf
FIGURES: dict[str, Figure] = {
    "bars": Bars(
        (
            Bar("a", 0.5, "50%", "noise", (0.4, 0.6), 0.3),
            Bar("", 0.25, "25%", "wrong"),
            Bar("none", None, "–"),
            Bar("beyond", INFINITY, "∞", "noise", (0.2, INFINITY)),
        ),
        most=1.0,
        share=True,
        label="share",
        legend=(("noise", "noise twins"),),
    ),
    "waterfall": Waterfall(("in", "one", "two"), (2.0, 1.0, 1.5), (2.0, None, -INFINITY)),
    "ending": Waterfall(("in", "one", "two"), (2.0, 1.0, INFINITY)),
    "nothing": Waterfall(("in",), (-INFINITY,)),
    "tree": Tree(("a", "b", "c"), ((0, 2, 0.2), (3, 1, 0.8)), (0, 2, 1), "height"),
    "alone": Tree(("a",), (), (0,)),
    "sparkline": Sparkline((0.1, INFINITY, None), (-1.0, None, -1.0), (1.0, 1.0, 1.0), 2.0),
    "lines": Lines(
        (0.0, 0.5, 1.0),
        (
            Series("one", "adversarial", (0.9, None, 0.1), ((0.8, 1.0), None, (0.0, 0.2))),
            Series("band", "noise", (0.9, 0.8, 0.7), ((0.8, 1.0), None, (0.6, 0.8)), band=True),
        ),
        (Level("chance", 0.1),),
        share=True,
    ),
    "named": Lines(
        ("in", "out"),
        (
            Series("far", "wrong", (-INFINITY, 2.0), ((-INFINITY, INFINITY), (1.0, INFINITY))),
            Series("null", "other", (1.0, 1.0), dashed=True),
        ),
    ),
    "empty": Lines((), ()),
}
TEMPLATE = """{% import "macros.html.j2" as macros %}<!doctype html><html lang="en"><head>
<meta charset="utf-8"><style>{{ css }}</style></head><body>
{% for name, it in figures.items() %}{{ macros.figure(name, it, name) }}{% endfor %}
<script>{{ script }}</script></body></html>"""


@pytest.fixture
def drawn(visitor, tmp_path: Path):
    template = page._environment().from_string(TEMPLATE)
    markup = template.render(
        css=page.Markup(page.page_style()), script=page.Markup(page.read_scripts()), figures=FIGURES
    )
    (tmp_path / "figures.html").write_text(markup, "utf-8")
    visitor.open(tmp_path / "figures.html")
    return visitor


@pytest.mark.end_to_end
def test_every_kind_is_drawn_without_complaint(drawn) -> None:
    assert drawn.browser.complaints() == []
    for name in FIGURES:
        assert drawn.run(f"return document.querySelectorAll('#{name} svg.chart').length") == 1, name
    odd = drawn.run(
        "return [...document.querySelectorAll('svg *')].flatMap((it) => [...it.attributes])"
        ".filter((it) => /NaN|Infinity|undefined|null(?!-mark)/.test(it.value))"
        ".map((it) => `${it.ownerElement.closest('.figure').id} ${it.name}=${it.value}`)"
    )
    assert odd == []


@pytest.mark.end_to_end
def test_bars_and_steps_are_as_long_as_their_numbers(drawn) -> None:
    widths = drawn.run(
        "return [...document.querySelectorAll('#bars rect')]"
        ".map((it) => Number(it.getAttribute('width')))"
    )
    assert len(widths) == 3  # nothing where there is no value
    assert widths[1] == pytest.approx(widths[0] / 2)
    assert widths[2] == pytest.approx(widths[0] * 2)  # ∞ ends at the edge
    heights = drawn.run(
        "return [...document.querySelectorAll('#waterfall rect')]"
        ".map((it) => Number(it.getAttribute('height')))"
    )
    assert len(heights) == 4  # input, two layers, output
    assert heights[1] == pytest.approx(heights[0] / 2)
    assert heights[2] == pytest.approx(heights[0] / 4)
    assert drawn.run("return document.querySelectorAll('#ending rect').length") == 2
    assert drawn.run("return document.querySelectorAll('#nothing rect').length") == 0
    said = drawn.run(
        "return [...document.querySelectorAll('#waterfall .step text')].map((it) => it.textContent)"
    )
    assert said == ["2.00", "−1.00", "+0.50", "1.50"]


@pytest.mark.law
def test_only_scripts_of_known_commands_are_read() -> None:
    assert page.read_scripts(("explore/choice",)).count("const choose") == 1
    with pytest.raises(FileNotFoundError):
        page.read_scripts(("nothing/choice",))


@pytest.mark.oracle
@pytest.mark.parametrize("name", [it for it in FIGURES if it != "sparkline"])
def test_papers_show_the_same_figure(name: str) -> None:
    it = FIGURES[name]
    assert not isinstance(it, Sparkline)
    ax = draw(it, title="a $ and a name")
    assert ax.get_title() == "a $ and a name"
    ax.figure.savefig(io.BytesIO(), format="svg")
    if isinstance(it, Bars):
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.5, 0.25, 1.0])
        assert [text.get_text() for text in ax.texts] == ["50%", "25%", "–", "∞"]
        assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "none", "beyond"]
    if name == "waterfall":
        np.testing.assert_allclose([bar.get_height() for bar in ax.patches], [2, -1, 0.5, 1.5])
        assert [text.get_text() for text in ax.texts] == ["2.00", "−1.00", "+0.50", "1.50"]
    assert len(ax.patches) == {"ending": 2, "nothing": 0}.get(name, len(ax.patches))
    if isinstance(it, Lines) and it.series:
        ends = it.levels and [[it.levels[0].value] * 2]
        values = [*(one.values for one in it.series), *ends]
        for line, wanted in zip(ax.get_lines(), values, strict=True):
            known = [math.nan if v is None or math.isinf(v) else v for v in wanted]
            np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), known)
        low, high = ax.get_ylim()
        assert all(low <= end <= high for box in ax.collections for end in _heights(box))
    if isinstance(it, Tree):
        assert [text.get_text() for text in ax.get_yticklabels()] == list(it.leaves)
        assert [line.get_xdata()[1] for line in ax.get_lines()] == [join[2] for join in it.joins]


def _heights(box) -> list[float]:
    return [y for path in box.get_paths() for _, y in path.vertices if not math.isnan(y)]


@pytest.mark.oracle
def test_papers_show_the_cells_of_a_heat_map() -> None:
    rows = ((0.25, None), (-math.inf, math.inf))
    ax = draw(HeatMap(("a", "b"), rows, (-1.0, 1.0), diverging=True, down="to", across="from"))
    assert [text.get_text() for text in ax.texts] == [".25", "–", "−∞", "∞"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("from", "to")
    shown = ax.get_images()[0].get_array()
    np.testing.assert_allclose(np.asarray(shown, dtype=float), [[0.25, np.nan], [-1, 1]])
