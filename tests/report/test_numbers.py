"""One way to write a number: it reads back as what it was, and the script writes it alike."""

from __future__ import annotations

import math
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldline.report import numbers
from worldline.report.heat import heat_cells, widest
from worldline.report.page import as_json
from worldline.statistics import proportion

NUMBERS = st.floats(-1e6, 1e6)
KNOWN = [0.0, -0.0, 0.005, -0.005, 0.125, 0.5, 0.995, 1.0, 9.999, 10.25, 20.31, -10.25, 100.0, 0.1]


def read(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.law
@given(value=NUMBERS | st.sampled_from(KNOWN), places=st.integers(0, 4))
def test_every_number_reads_back_as_what_it_was(value: float, places: int) -> None:
    close = 0.5 * 10.0**-places + 1e-9
    for form in (numbers.number, numbers.signed, numbers.cell):
        text = form(value, places)
        assert abs(read(text) - value) <= close, (form, text)
        assert text.startswith("−") == (read(text) < 0)
    assert math.isclose(read(numbers.significant(value, 4)), value, rel_tol=1e-3)


@pytest.mark.law
@given(value=st.floats(-400, 400) | st.sampled_from([10.25, 20.31, 100.05, -30.5]))
def test_cells_of_heat_maps_keep_their_digits(value: float) -> None:
    ((text, _),) = heat_cells([[value]], (-1.0, 1.0), diverging=True)[0]
    assert abs(read(text) - value) <= 0.005 + 1e-9


@pytest.mark.law
@given(value=st.floats(0, 1))
def test_a_share_is_said_to_be_all_or_nothing_only_where_it_is(value: float) -> None:
    assert (numbers.share(value) == "0%") == (value == 0)
    assert (numbers.share(value) == "100%") == (value == 1)
    assert numbers.share(-value) == ("0%" if value == 0 else f"−{numbers.share(value)}")


@pytest.mark.law
def test_infinities_keep_their_sign_and_nothing_is_a_dash() -> None:
    forms = (numbers.number, numbers.signed, numbers.significant, numbers.cell, numbers.share)
    for form in forms:
        assert form(-math.inf) == "−∞"
        assert form(math.inf).endswith("∞")
        assert not form(math.inf).startswith("−")
        assert form(None) == form(math.nan) == "–"
    assert numbers.interval((-math.inf, 0.5)) == "−∞ to 0.50"
    assert heat_cells(
        [[math.inf, -math.inf, None, math.nan]], widest([[[0.5, math.inf]]], 0.1)
    ) == [[("∞", "h20"), ("−∞", "h0"), ("–", "none"), ("–", "none")]]
    assert numbers.estimate(proportion(0, 0)) == numbers.estimate(None) == "–"
    assert numbers.estimate(proportion(1, 4)) == "25% (5% to 70%)"


@pytest.mark.law
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-99, 99) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
)
def test_page_data_reads_back_with_its_infinities(value: object) -> None:
    import json

    text = as_json(value)
    assert json.loads(text) == value
    assert not set("<>&") & set(text)


@pytest.mark.message
def test_what_is_undefined_has_no_place_in_page_data() -> None:
    with pytest.raises(ValueError, match="undefined is None"):
        as_json({"a": [math.nan]})


@pytest.mark.end_to_end
def test_the_script_writes_numbers_as_python_does(browser) -> None:
    script = resources.files("worldline.report").joinpath("script/numbers.js").read_text("utf-8")
    values = [*KNOWN, *(k / 1000 for k in range(-1010, 1011, 5)), 1234.5678, 0.0004, 0.9996]
    told = browser.execute_script(
        f"{script}\nreturn arguments[0].map((it) => [told(it), told(it, 3), percent(it)])", values
    )
    for value, (two, three, part) in zip(values, told, strict=True):
        assert two == numbers.number(value)
        assert three == numbers.number(value, 3)
        assert part == numbers.share(value), value
    edges = browser.execute_script(
        f"{script}\nreturn [told(null), told(NaN), told(Infinity), told(-Infinity), percent(null)]"
    )
    assert edges == ["–", "–", "∞", "−∞", "–"]
