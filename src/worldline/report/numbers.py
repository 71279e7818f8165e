"""The one way in which numbers are written: on pages, in tables, in sentences, in the terminal.

The script of the pages has the same rules (``script/numbers.js``), and a test holds them together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

from worldline.statistics import Share, Summary

__all__ = [
    "NONE",
    "attack_name",
    "cell",
    "count",
    "estimate",
    "interval",
    "norm_sign",
    "number",
    "p_value",
    "share",
    "signed",
    "significant",
]

NONE, MINUS, INFINITY = "–", "−", "∞"
Ends = tuple[float, float]


def number(value: float | None, places: int = 2) -> str:
    """A number with so many decimals; ±∞ by its sign, – where there is none.

    >>> from worldline.report.numbers import number
    >>> number(-1.005), number(float("-inf")), number(-0.001), number(None)
    ('−1.00', '−∞', '0.00', '–')
    """
    return _with_sign(value, lambda size: _fixed(size, places))


def signed(value: float | None, places: int = 2) -> str:
    """A number whose sign is said when it is positive, too.

    >>> from worldline.report.numbers import signed
    >>> signed(0.25), signed(-0.25), signed(0.0)
    ('+0.25', '−0.25', '0.00')
    """
    text = number(value, places)
    return f"+{text}" if value is not None and value > 0 and _counts(text) else text


def significant(value: float | None, digits: int = 3) -> str:
    """A number of any size with so many digits.

    >>> from worldline.report.numbers import significant
    >>> significant(0.0313725), significant(-1.2e-7), significant(12.0)
    ('0.0314', '−1.2e−7', '12')
    """
    return _with_sign(value, lambda size: _general(size, digits))


def share(value: float | None, places: int = 0) -> str:
    """A share in per cent; never rounded to 0% or 100% unless it is.

    >>> from worldline.report.numbers import share
    >>> share(0.457), share(1.0), share(0.997), share(0.0001), share(-0.03), share(None)
    ('46%', '100%', '99.7%', 'under 0.1%', '−3%', '–')
    """
    if value is None or not math.isfinite(value):
        return number(value)
    return _with_sign(value, lambda size: _percent(size, places))


def interval(ends: Ends | None, form: Callable[[float], str] = number) -> str:
    """The ends of an interval, each written by ``form``; – where there is none.

    >>> from worldline.report.numbers import interval, share
    >>> interval((0.2, float("inf"))), interval((0.2, 0.31), share), interval(None)
    ('0.20 to ∞', '20% to 31%', '–')
    """
    return NONE if ends is None else f"{form(ends[0])} to {form(ends[1])}"


def estimate(it: Share | Summary | None) -> str:
    """A share, or a median, with its interval: ``45% (38% to 52%)``."""
    if it is None:
        return NONE
    value, form = (it.value, share) if isinstance(it, Share) else (it.median, number)
    return form(value) if it.interval is None else f"{form(value)} ({interval(it.interval, form)})"


def count(value: int, what: str, many: str | None = None) -> str:
    """A number of things.

    >>> from worldline.report.numbers import count
    >>> count(1, "sample"), count(2000, "sample"), count(2, "class", "classes")
    ('1 sample', '2,000 samples', '2 classes')
    """
    return f"{value:,} {what if value == 1 else many or what + 's'}"


def norm_sign(norm: str) -> str:
    """A norm as it is written in mathematics.

    >>> from worldline.report.numbers import norm_sign
    >>> norm_sign("linf"), norm_sign("l2")
    ('L∞', 'L2')
    """
    return {"linf": "L∞"}.get(norm, norm.upper())


def attack_name(
    attack: str | None, steps: int | None, norm: str | None, epsilon: str | None
) -> str:
    """An attack that was made, as a phrase; one of the user's own is named as it was given.

    >>> from worldline.report.numbers import attack_name
    >>> attack_name("pgd", 40, "linf", "8/255"), attack_name("mine.py:attack", None, "l2", "1")
    ('PGD-40 (L∞, ε = 8/255)', 'mine.py:attack (L2, ε = 1)')
    """
    attack, size = attack or "", f"{norm_sign(norm or '')}, ε = {epsilon}"
    name = attack if ":" in attack else attack.upper()
    return f"{name}{f'-{steps}' if steps else ''} ({size})"


def p_value(value: float | None) -> str:
    """A p-value with two digits; small ones are said to be small, not to be nothing.

    >>> from worldline.report.numbers import p_value
    >>> p_value(0.0123), p_value(0.00001), p_value(None)
    ('0.012', 'under 0.0001', '–')
    """
    return "under 0.0001" if value is not None and value < 1e-4 else significant(value, 2)


def cell(value: float | None, places: int = 2) -> str:
    """A number in the narrow cell of a heat map: without the 0 before the point.

    >>> from worldline.report.numbers import cell
    >>> cell(0.25), cell(-0.25), cell(10.25), cell(20.31), cell(1.0), cell(0.0)
    ('.25', '−.25', '10.25', '20.31', '1.00', '.00')
    """
    text = number(value, places)
    sign = text[: text.startswith(MINUS)]
    return sign + text[len(sign) + 1 :] if text[len(sign) :].startswith("0.") else text


def _with_sign(value: float | None, write: Callable[[float], str]) -> str:
    """What ``write`` makes of the size, under the sign, which 0 has not."""
    if value is None or math.isnan(value):
        return NONE
    text = INFINITY if math.isinf(value) else write(abs(value))
    return f"{MINUS}{text}" if value < 0 and (math.isinf(value) or _counts(text)) else text


def _counts(text: str) -> bool:
    """Whether a text says more than 0."""
    return any(letter in "123456789∞" for letter in text)


def _fixed(size: float, places: int) -> str:
    """Rounded from the exact value, halves up: so does ``toFixed`` in the script."""
    return str(Decimal(size).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def _general(size: float, digits: int) -> str:
    mantissa, _, exponent = f"{size:.{digits}g}".partition("e")
    return (
        f"{mantissa}e{_with_sign(int(exponent), lambda it: f'{it:.0f}')}" if exponent else mantissa
    )


def _percent(size: float, places: int) -> str:
    if size in (0.0, 1.0) or places or 0.005 <= size < 0.995 or size > 1:
        return f"{_fixed(100 * size, places)}%"
    if size < 0.0005:
        return "under 0.1%"
    return "over 99.9%" if size >= 0.9995 else f"{_fixed(100 * size, 1)}%"
