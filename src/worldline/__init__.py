"""Worldline: see why an input fools your model.

>>> import worldline as wl
>>> sorted(wl.__all__) == wl.__all__
True
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldline import (
        attacks,
        calls,
        checks,
        commands,
        compare,
        encoder,
        explain,
        geometry,
        loading,
        nullmodel,
        plot,
        report,
        runs,
        statistics,
        trace,
        zoo,
    )
    from worldline.calls import (
        carriers,
        compare_models,
        complexity,
        distant,
        doctor,
        encode,
        explore,
    )
    from worldline.checks import check_model
    from worldline.geometry import (
        PairStatus,
        angle,
        correlation,
        entanglement,
        length_contraction,
        lorentz_factor,
        pair_status,
        proper_depth,
        rapidity,
        rapidity_of_displacement,
    )
    from worldline.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "PairStatus",
    "Settings",
    "angle",
    "attacks",
    "calls",
    "carriers",
    "check_model",
    "checks",
    "commands",
    "compare",
    "compare_models",
    "complexity",
    "correlation",
    "distant",
    "doctor",
    "encode",
    "encoder",
    "entanglement",
    "explain",
    "explore",
    "geometry",
    "length_contraction",
    "loading",
    "lorentz_factor",
    "nullmodel",
    "pair_status",
    "plot",
    "proper_depth",
    "rapidity",
    "rapidity_of_displacement",
    "report",
    "runs",
    "statistics",
    "trace",
    "zoo",
]

_CALLS = ("carriers", "compare_models", "complexity", "distant", "doctor", "encode", "explore")
_HOMES = {"check_model": "checks", "Settings": "settings", **dict.fromkeys(_CALLS, "calls")}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``worldline --help`` need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'worldline' has no attribute {name!r}")
    if find_spec(f"worldline.{name}"):  # a room
        return import_module(f"worldline.{name}")
    home = _HOMES.get(name, "geometry")
    return getattr(import_module(f"worldline.{home}"), name)


def __dir__() -> list[str]:
    return __all__
