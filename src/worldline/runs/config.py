"""The configuration of a run: one frozen dataclass, read from and written to TOML."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, get_args

import tomli_w

from worldline.attacks import NormName, named_norm
from worldline.errors import UsageError
from worldline.geometry import FrameName, check_frame_name
from worldline.settings import Tokens
from worldline.trace import check_tokens

__all__ = [
    "FRAMES",
    "AttackConfig",
    "CompareConfig",
    "ComplexityConfig",
    "DataConfig",
    "DistantConfig",
    "DoctorConfig",
    "ExploreConfig",
    "parse_bounds",
    "parse_number",
    "parse_size",
]

FRAMES = get_args(FrameName)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What every run on models and data decides; each command adds its own.

    Attributes:
        data: as in :func:`worldline.loading.load_data`.
        image_size: to which a folder's pictures are resized and cut; 0 leaves them.
        unsafe_pickle: whether whole pickled modules, which can run any code, may be opened as
            models.
        bounds: lowest and highest legal value of an input.
        seed: of everything random.
        samples: at most so many are used: the first ones.
        batch_size: inputs in one pass.
        device: where torch computes.
    """

    table: ClassVar[str]  # of the TOML file
    may_be_zero: ClassVar[tuple[str, ...]] = ("seed", "image_size")

    data: str = "digits"
    image_size: int = 0
    unsafe_pickle: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    samples: int = 1000
    batch_size: int = 256
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse counts that no run could use."""
        for name, value in asdict(self).items():
            least = 0 if name in self.may_be_zero else 1
            if (
                isinstance(value, int)
                and not isinstance(value, bool)
                and name != "seed"
                and value < least
            ):
                raise UsageError(
                    f"--{name.replace('_', '-')} must be at least {least}; got {value}."
                )

    def to_toml(self) -> str:
        """The configuration as TOML, every key written out."""
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        return tomli_w.dumps({self.table: plain})

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        """The keys that a TOML file sets; UsageError for unknown keys or wrong types."""
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise UsageError(
                f"The configuration {str(path)!r} cannot be read: {error.strerror}."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"The configuration {str(path)!r} is not TOML: {error}.") from error
        keys = content.get(cls.table, {})
        known = {field.name: field.default for field in fields(cls)}
        unknown = sorted((set(content) - {cls.table}) | (set(keys) - set(known)))
        if unknown:
            raise UsageError(
                f"Unknown keys in {path.name}: {', '.join(unknown)}. [{cls.table}] knows "
                f"{', '.join(known)}."
            )
        for name in ("eps", "sigma"):
            if isinstance(keys.get(name), (int, float)):
                keys[name] = str(keys[name])
        for name, value in keys.items():
            keys[name] = tuple(value) if isinstance(value, list) else value
            expected = type(known[name])
            if not isinstance(keys[name], expected) or isinstance(value, bool) is not (
                expected is bool
            ):
                raise UsageError(
                    f"{name} in {path.name} must be a {expected.__name__}; got {value!r}."
                )
        return dict(keys)


@dataclass(frozen=True, kw_only=True)
class AttackConfig(DataConfig):
    """A run that attacks.

    Attributes:
        eps: radius of the ball in the units of the input, as written: a number or a fraction such
            as ``8/255``.
        norm: ``linf`` or ``l2``.
        attack: ``pgd``, ``fgsm``, or ``package.module:callable`` / ``file.py:callable`` with the
            call (model, x, y).
        steps: of PGD.
    """

    named_attacks: ClassVar[tuple[str, ...]] = ("pgd", "fgsm")
    must_attack: ClassVar[bool] = True

    eps: str = "0.15"
    norm: NormName = "linf"
    attack: str = "pgd"
    steps: int = 40

    def __post_init__(self) -> None:
        """Refuse a ball without a size, and an attack that cannot be named so."""
        super().__post_init__()
        if (self.eps or self.must_attack) and self.epsilon <= 0:
            raise UsageError(f"--eps must be positive; got {self.eps}.")
        named_norm(self.norm)
        if self.attack not in self.named_attacks and ":" not in self.attack:
            raise UsageError(
                f"--attack is {', '.join(self.named_attacks)}, package.module:callable or "
                f"file.py:callable; got {self.attack!r}."
            )

    @property
    def epsilon(self) -> float:
        """ε as a number, in the units of the input."""
        return parse_number(self.eps, "--eps")


@dataclass(frozen=True, kw_only=True)
class ExploreConfig(AttackConfig):
    """Everything that decides the numbers of ``worldline explore``.

    Attributes:
        model, weights: as in :mod:`worldline.loading`.
        layers: globs; empty for the default layers.
        frame: ``raw``, ``centered`` or ``whitened``.
        tokens: what becomes of values (N, T, D): ``flatten``, ``cls``, ``mean`` or ``token``.
        memory: for tracing, over the model and the data: ``2GB``, ``500MB``, ``1.5GiB``; empty for
            no limit.

    >>> from worldline.runs import ExploreConfig
    >>> round(ExploreConfig(eps="8/255").epsilon, 4)
    0.0314
    """

    table: ClassVar[str] = "explore"

    model: str = "cnn"
    weights: str = ""
    layers: tuple[str, ...] = ()
    frame: FrameName = "centered"
    tokens: Tokens = "flatten"
    memory: str = ""

    def __post_init__(self) -> None:
        """Refuse an unknown frame or reduction, and a memory that is no size, too."""
        super().__post_init__()
        check_frame_name(self.frame)
        check_tokens(self.tokens)
        _ = self.bytes_of_memory

    @property
    def bytes_of_memory(self) -> int | None:
        """The memory in bytes; None for no limit."""
        return parse_size(self.memory, "--memory") if self.memory else None


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(AttackConfig):
    """Everything that decides the numbers of ``worldline doctor``.

    Attributes:
        model, weights: as in :mod:`worldline.loading`.
        attack: also ``strong``, the default, see :func:`worldline.attacks.strong_attack`.
        attack_selftest: whether adversarial examples are planted for the attack to find.
        thorough: whether more attacks are tried on what is left.

    >>> from worldline.runs import DoctorConfig
    >>> DoctorConfig().attack
    'strong'
    """

    table: ClassVar[str] = "doctor"
    named_attacks: ClassVar[tuple[str, ...]] = ("strong", "pgd", "fgsm")

    model: str = "cnn"
    weights: str = ""
    attack: str = "strong"
    attack_selftest: bool = False
    thorough: bool = False


@dataclass(frozen=True, kw_only=True)
class CompareConfig(AttackConfig):
    """Everything that decides the numbers of ``worldline compare``.

    Attributes:
        models: at least two specifications as in :mod:`worldline.loading`; one each.
        measure: whether transfer is also measured, by attacks on every model.
        probed_samples, probes: samples that are probed and displacements of each, see
            :func:`worldline.compare.predict`.

    >>> from worldline.runs import CompareConfig
    >>> CompareConfig(models=("mlp", "cnn")).steps
    20
    """

    table: ClassVar[str] = "compare"

    models: tuple[str, ...] = ()
    measure: bool = False
    steps: int = 20
    probed_samples: int = 100
    probes: int = 64

    def __post_init__(self) -> None:
        """Refuse fewer than two models, and the same one twice."""
        super().__post_init__()
        if len(self.models) < 2:
            raise UsageError(
                f"Name at least two models to compare, or --zoo default; got "
                f"{', '.join(self.models) or 'none'}."
            )
        _refuse_twice(self.models)


@dataclass(frozen=True, kw_only=True)
class ComplexityConfig(AttackConfig):
    """Everything that decides the numbers of ``worldline complexity``.

    Attributes:
        models: specifications as in :mod:`worldline.loading`, at least one.
        sigma: standard deviation of the noise twins in the units of the input, as written.
        eps: of the adversarial twins; empty for none, and nothing is attacked.
        layers: globs; empty for the default layers.
        frame: ``raw``, ``centered`` or ``whitened``.

    >>> from worldline.runs import ComplexityConfig
    >>> ComplexityConfig(models=("mlp",), sigma="8/255").noise_size < 0.04
    True
    """

    table: ClassVar[str] = "complexity"
    must_attack: ClassVar[bool] = False

    models: tuple[str, ...] = ()
    sigma: str = "0.1"
    eps: str = ""
    steps: int = 20
    layers: tuple[str, ...] = ()
    frame: FrameName = "centered"

    def __post_init__(self) -> None:
        """Refuse no model at all, one twice, and noise without a size."""
        super().__post_init__()
        check_frame_name(self.frame)
        if not self.models:
            raise UsageError("Name at least one model, such as worldline complexity cnn mlp.")
        _refuse_twice(self.models)
        if self.noise_size <= 0:
            raise UsageError(f"--sigma must be positive; got {self.sigma}.")

    @property
    def noise_size(self) -> float:
        """σ as a number, in the units of the input."""
        return parse_number(self.sigma, "--sigma")


def _refuse_twice(models: tuple[str, ...]) -> None:
    twice = sorted({name for name in models if models.count(name) > 1})
    if twice:
        raise UsageError(
            f"{', '.join(twice)} is named twice. Another seed of a zoo model is "
            f"{twice[0].split('@')[0]}@1."
        )


@dataclass(frozen=True, kw_only=True)
class DistantConfig(DataConfig):
    """Everything that decides the numbers of ``worldline distant``.

    Attributes:
        model, weights: as in :mod:`worldline.loading`.
        layer: where to search; empty for the last default layer before the output.
        pairs: found pairs of each sign.
        frame: ``raw``, ``centered`` or ``whitened``.
        input_quantile: in [0, 1): pairs at least as far apart at the input as this quantile of
            pairs.
        nulls: untrained networks to search as well.
        make: none, or the numbers of two samples: the first is moved until it meets the second at
            the layer.
        opposite: whether it shall become the second's opposite instead.
        eps: how far it may move, as written; empty for anywhere inside the bounds.
        norm, steps: of that move.

    >>> from worldline.runs import DistantConfig
    >>> DistantConfig(make=(3, 5)).epsilon is None
    True
    """

    table: ClassVar[str] = "distant"
    may_be_zero: ClassVar[tuple[str, ...]] = ("seed", "image_size", "nulls")

    model: str = "cnn"
    weights: str = ""
    layer: str = ""
    pairs: int = 12
    frame: FrameName = "centered"
    input_quantile: float = 0.5
    nulls: int = 9
    make: tuple[int, ...] = ()
    opposite: bool = False
    eps: str = ""
    norm: NormName = "linf"
    steps: int = 200

    def __post_init__(self) -> None:
        """Refuse what cannot be searched or made."""
        super().__post_init__()
        check_frame_name(self.frame)
        named_norm(self.norm)
        if not 0 <= self.input_quantile < 1:
            raise UsageError(f"--input-quantile must be in [0, 1); got {self.input_quantile}.")
        if self.make and (
            len(self.make) != 2 or min(self.make) < 0 or self.make[0] == self.make[1]
        ):
            raise UsageError(
                f"--make takes the numbers of two different samples; got "
                f"{', '.join(map(str, self.make))}."
            )
        if self.epsilon is not None and self.epsilon <= 0:
            raise UsageError(f"--eps must be positive; got {self.eps}.")
        if (self.eps or self.opposite) and not self.make:
            raise UsageError("--eps and --opposite say how to make a pair; give --make A B too.")

    @property
    def epsilon(self) -> float | None:
        """How far an input may move, in its own units; None for anywhere inside the bounds."""
        return parse_number(self.eps, "--eps") if self.eps else None


def parse_number(text: str, name: str) -> float:
    """A finite number, or a fraction such as ``8/255``.

    >>> from worldline.runs.config import parse_number
    >>> parse_number("1/4", "--eps")
    0.25
    """
    try:
        top, _, bottom = text.partition("/")
        value = float(Fraction(top.strip()) / Fraction(bottom.strip())) if bottom else float(top)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name} must be a number or a fraction such as 8/255; got {text!r}.")
    return value


def parse_size(text: str, name: str) -> int:
    """Bytes: a positive number with its unit, ``B``, ``kB``, ``MB``, ``GB``, ``TB`` or ``KiB``,
    ``MiB``, ``GiB``, ``TiB``.

    >>> from worldline.runs.config import parse_size
    >>> parse_size("2GB", "--memory"), parse_size("1.5 GiB", "--memory")
    (2000000000, 1610612736)
    """
    units = {"b": 1} | {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)}
    units |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)}
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{0,9})?)\s*([a-zA-Z]+)\s*", text)
    unit = units.get(found[2].lower()) if found else None
    size = int(Fraction(found[1]) * unit) if found and unit else 0
    if size < 1:
        raise UsageError(
            f"{name} must be a size with its unit, such as 2GB, 500MB or 1.5GiB; got {text!r}."
        )
    return size


def parse_bounds(text: str) -> tuple[float, float]:
    """``low,high`` with low < high.

    >>> from worldline.runs.config import parse_bounds
    >>> parse_bounds("0,255")
    (0.0, 255.0)
    """
    parts = text.split(",")
    if len(parts) != 2:
        raise UsageError(f"--bounds must be 'low,high', such as 0,1; got {text!r}.")
    low, high = (parse_number(part.strip(), "--bounds") for part in parts)
    if low >= high:
        raise UsageError(f"--bounds must be 'low,high' with low < high; got {text!r}.")
    return low, high
