"""Parts of :func:`worldline.explain.complexity`: linear layers as operators, speed limits, spectra,
dimensions, and known measures.
"""

from worldline.explain.measures.dimension import Dimension, dimension
from worldline.explain.measures.known import Measure
from worldline.explain.measures.limits import (
    LinearLayer,
    Use,
    find_linear,
    limit_use,
    linear_origins,
)
from worldline.explain.measures.operators import spectral_norm, top_singular_values
from worldline.explain.measures.spectrum import Spectrum, jacobian_spectrum

__all__ = [
    "Dimension",
    "LinearLayer",
    "Measure",
    "Spectrum",
    "Use",
    "dimension",
    "find_linear",
    "jacobian_spectrum",
    "limit_use",
    "linear_origins",
    "spectral_norm",
    "top_singular_values",
]
