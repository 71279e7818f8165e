"""Everything that Worldline raises on purpose.

::

    WorldlineError
    ├── UsageError        the command or configuration is wrong            (exit code 2)
    └── InputError        what was given cannot be used                    (exit code 3)
        ├── ShapeError    a tensor of the wrong shape or dtype
        ├── BoundsError   values outside the declared bounds, or not finite
        ├── LabelError    labels that do not fit the model
        ├── LayerError    a layer that is not there, or never ran
        ├── ModelError    a model that cannot be loaded, called or explained
        ├── DataError     a data set that cannot be loaded
        └── RunError      a run folder that cannot be written or read

    UndefinedPairWarning  some pairs have no value (a vector without a direction)
    GradientWarning       an attack that steps along gradients got none

Each message says what was expected, what came, where, and what to do.
"""

__all__ = [
    "BoundsError",
    "DataError",
    "GradientWarning",
    "InputError",
    "LabelError",
    "LayerError",
    "ModelError",
    "RunError",
    "ShapeError",
    "UndefinedPairWarning",
    "UsageError",
    "WorldlineError",
]


class WorldlineError(Exception):
    """Base of every error raised on purpose."""


class UsageError(WorldlineError, ValueError):
    """An option or a configuration key that is not understood."""


class InputError(WorldlineError, ValueError):
    """Something that was given cannot be used."""


class ShapeError(InputError):
    """A tensor has the wrong shape or dtype."""


class BoundsError(InputError):
    """Values lie outside the declared bounds, or are not finite."""


class LabelError(InputError):
    """Labels do not fit the model or the samples."""


class LayerError(InputError):
    """A layer does not exist, or never ran in the forward pass."""


class ModelError(InputError):
    """A model cannot be loaded, called or explained."""


class DataError(InputError):
    """A data set cannot be loaded."""


class RunError(InputError):
    """A run folder cannot be written or read."""


class UndefinedPairWarning(UserWarning):
    """Some pairs have no value because a vector has no direction; see ``wl.pair_status``."""


class GradientWarning(UserWarning):
    """An attack that steps along gradients got none, so that it only shows what was wrong before.

    See ``wl.attacks.gradient_problem``.
    """
