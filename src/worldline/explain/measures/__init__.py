"""Parts of :func:`worldline.explain.complexity`: limits, spectra, dimensions, known measures."""

from worldline.explain.measures.dimensions import Dimension, dimension
from worldline.explain.measures.known import Measure
from worldline.explain.measures.limits import (
    LinearLayer,
    Use,
    find_linear,
    limit_use,
    linear_origins,
)
from worldline.explain.measures.operators import Stretch, stretch, top_singular_values
from worldline.explain.measures.spectrum import Spectrum, jacobian_spectrum

__all__ = [
    "Dimension",
    "LinearLayer",
    "Measure",
    "Spectrum",
    "Stretch",
    "Use",
    "dimension",
    "find_linear",
    "jacobian_spectrum",
    "limit_use",
    "linear_origins",
    "stretch",
    "top_singular_values",
]
