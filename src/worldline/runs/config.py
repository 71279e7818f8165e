"""Configurations: a command's options, said once; from the command line and TOML, and back to TOML.

Nothing here needs torch or pydantic before a configuration is read, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

import tomli_w

from worldline.errors import UsageError
from worldline.files import read_text, shorten
from worldline.settings import Bounds, NormName, Progress, Settings, silent

__all__ = [
    "AUTO",
    "GIVEN",
    "AttackConfig",
    "BudgetConfig",
    "Config",
    "DataConfig",
    "Handed",
    "ModelConfig",
    "ModelsConfig",
    "Option",
    "ReachConfig",
    "by_feature",
    "option",
    "options_of",
    "parse_bounds",
    "parse_number",
    "parse_size",
]

LONGEST_CONFIG = 2**20
LARGEST_SEED = 2**63 - 1
GIVEN = "given sizes"
"""Of ``eps``: an array that was handed over."""
AUTO: Bounds = (-math.inf, math.inf)
"""Of ``--bounds auto``: what is legal is taken from the data."""
Kind = Literal["", "number", "size", "sizes", "callable"]


@dataclass(frozen=True)
class Option:
    """What the command line, TOML and Python say of one field of a configuration.

    Attributes:
        help: one sentence.
        metavar: what stands for the value in ``--help``.
        least, below: lowest legal number, and the first that is too large.
        kind: of text: ``number`` (``8/255``) or ``size`` (``2GB``), empty where the default is.
        positional: an argument instead of an option.
    """

    help: str
    metavar: str = ""
    least: float | None = None
    below: float | None = None
    kind: Kind = ""
    positional: bool = False


def option(default: Any, help: str, **said: Any) -> Any:  # noqa: A002  # click's word for it
    """A field of a configuration that is an option of its command, as :class:`Option` says it."""
    return field(default=default, metadata={"option": Option(help, **said)})


@dataclass(frozen=True)
class Described:
    """An option with its name, type and default."""

    name: str
    hint: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """As it is written on the command line."""
        return self.name.upper() if self.option.positional else f"--{self.name.replace('_', '-')}"

    @property
    def optional(self) -> bool:
        """Whether None is a value: the setting of something else counts."""
        return type(None) in get_args(self.hint)

    @property
    def plain(self) -> Any:
        """The type without None."""
        return get_args(self.hint)[0] if self.optional else self.hint

    def refused(self, expected: str, got: object) -> UsageError:
        """What is said of a value that cannot be."""
        return UsageError(f"{self.flag} must be {expected}; got {shorten(str(got))}.")


def options_of(kind: type[Config]) -> tuple[Described, ...]:
    """The options of a configuration, in the order of its fields."""
    hints = get_type_hints(kind)
    return tuple(
        Described(it.name, hints[it.name], it.default, it.metadata["option"])
        for it in fields(kind)
        if "option" in it.metadata
    )


@dataclass(frozen=True)
class Handed:
    """What a call in Python hands over instead of naming it, so that nothing is looked for.

    Attributes:
        models: by their names in the configuration.
        data: samples; for ``encode`` matched and unmatched embeddings.
        image, receiver: grey pictures (H, W), for ``encode``.
        attack: a callable.
        arrays: sizes (``eps``) and ``mask`` by feature, by the name of the option.
    """

    models: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None
    image: Any = None
    receiver: Any = None
    attack: Any = None
    arrays: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every run decides.

    Attributes:
        seed: of everything random.
        handed: what stands behind its names, where that is here already; no option, and not kept.
    """

    command: ClassVar[str]
    strict: ClassVar[bool] = False  # whether its record can be untrustworthy

    handed: Handed = field(default=Handed(), repr=False, compare=False)
    seed: int = option(0, "Seed of everything random.", least=0, below=LARGEST_SEED, metavar="N")

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        for it in options_of(type(self)):
            value = getattr(self, it.name)
            if value is not None or not it.optional:
                _check(it, value)

    @property
    def stem(self) -> str:
        """What a folder of such a run is called."""
        return self.command

    def to_toml(self) -> str:
        """The configuration as TOML, every key written out; it runs again to the same numbers."""
        values = {it.name: getattr(self, it.name) for it in options_of(type(self))}
        kept = {
            name: "auto" if value == AUTO else value
            for name, value in values.items()
            if value is not None
        }
        return tomli_w.dumps({self.command: kept})

    @classmethod
    def read(cls, path: str | Path, **given: Any) -> Self:
        """From a TOML file; what is given beside it wins.

        Raises:
            UsageError: it cannot be read, or has unknown keys or wrong types.
        """
        return cls._made(**{**_read_toml(cls, path), **given})

    @classmethod
    def from_text(cls, given: Mapping[str, Any], file: str | None = None) -> Self:
        """From what a command line gives: text is read by each option's type; over a TOML file."""
        known = {it.name: it for it in options_of(cls)}
        read = {name: _parse(known[name], value) for name, value in given.items()}
        return cls._made(**{**(_read_toml(cls, file) if file else {}), **read})

    @classmethod
    def _made(cls, **values: Any) -> Self:
        """From all that was given, where one value may decide another."""
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """A run on models and data.

    Attributes:
        data, x, y, image_size, bounds: as in :func:`worldline.loading.load_data`.
        samples: at most so many are used: the first ones.
        batch_size: inputs in one pass.
        device: where torch computes.
        unsafe_pickle: whether whole pickled modules, which can run any code, may be opened.
    """

    data: str = option(
        "digits",
        "'digits'; .npz, .npy, IDX, .csv, .parquet; a folder of pictures by class, of IDX files or "
        "by save_to_disk; file.py:factory of a Dataset.",
    )
    x: str = option(
        "", "Array, file, columns (A,B) or key of the data that hold the inputs.", metavar="NAME"
    )
    y: str = option(
        "", "Array, file, column or key of the data that holds the labels.", metavar="NAME"
    )
    image_size: int = option(
        0, "Resize pictures to N pixels and cut out the centre.", least=0, metavar="N"
    )
    bounds: Bounds = option(  # noqa: RUF009  # a field
        (0.0, 1.0), "Legal range of the inputs; auto: the data's own.", metavar="LOW,HIGH"
    )
    samples: int = option(1000, "Use at most so many samples.", least=1, metavar="N")
    batch_size: int = option(256, "Inputs in one pass.", least=1, metavar="N")
    device: str = option("cpu", "Where torch computes.")
    unsafe_pickle: bool = option(
        False, "Open whole pickled modules (.pt, .pkl) and TorchScript, which can run any code."
    )

    def settings(self, progress: Progress = silent) -> Settings:
        """What travels through the computation."""
        return Settings(
            bounds=self.bounds,
            frame=getattr(self, "frame", "centered"),
            batch_size=self.batch_size,
            seed=self.seed,
            device=self.device,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class AttackConfig(DataConfig):
    """A run that attacks, or may.

    Attributes:
        eps: radius of the ball in the units of the input, as written: a number, or ``8/255``.
        norm: of the ball.
        attack: by name, or ``package.module:callable``, ``file.py:callable`` with (model, x, y).
        steps: of PGD.
    """

    attacks: ClassVar[tuple[str, ...]] = ("pgd", "fgsm", "square")

    eps: str = option(
        "0.15", "Radius of the attack in the inputs' units; 8/255 works.", kind="number"
    )
    norm: NormName = option("linf", "Norm of the attack.")  # noqa: RUF009  # a field
    attack: str = option(
        "pgd",
        "pgd, fgsm, square (without gradients), or package.module:callable(model, x, y).",
        kind="callable",
    )
    steps: int = option(40, "Gradient steps of the attack.", least=1, metavar="N")

    def __post_init__(self) -> None:
        """Refuse a ball without a size, and an attack that cannot be named so."""
        super().__post_init__()
        if self.attack not in self.attacks and ":" not in self.attack:
            raise UsageError(
                f"--attack is {', '.join(self.attacks)}, package.module:callable or "
                f"file.py:callable; got {shorten(self.attack)!r}."
            )

    @property
    def epsilon(self) -> float:
        """ε as a number, in the units of the input; 0 where none was given."""
        return parse_number(self.eps, "--eps") if self.eps else 0.0

    @property
    def ball(self) -> dict[str, Any]:
        """What every attack of ours is told: how far it may go, and where."""
        return {"epsilon": self.epsilon, "norm": self.norm, "bounds": self.bounds}


@dataclass(frozen=True, kw_only=True)
class ReachConfig(DataConfig):
    """A run that moves inputs: how far, also by feature, and what it leaves alone.

    Attributes:
        eps: as written: a number, or ``8/255``; ``0.1sd``, parts of each feature's standard
            deviation in the reference; an .npy file of sizes by feature; empty for anywhere inside
            the bounds.
        norm: of the ball.
        mask: an .npy file, true where an entry may change.
        immutable: columns that may not change, by number or name.
    """

    eps: str = option("", "How far an input may move.", kind="sizes")
    norm: NormName = option("linf", "Norm of the move.")  # noqa: RUF009  # a field
    mask: str = option("", "Where inputs may change: true in an .npy file.", metavar="FILE")
    immutable: str = option(
        "", "Columns of a table that may not change: 0,3,7, or names.", metavar="COLUMNS"
    )

    @property
    def epsilon(self) -> float | None:
        """ε as a number, in the units of the input; 1 where sizes are by feature, None for none."""
        if by_feature(self.eps):
            return 1.0
        return parse_number(self.eps, "--eps") if self.eps else None


@dataclass(frozen=True, kw_only=True)
class BudgetConfig(ReachConfig, AttackConfig):
    """A run whose attack may have a size for each feature, and leave some alone."""

    eps: str = option(
        "0.15",
        "Radius of the attack in the inputs' units; 8/255 works. By feature: FILE.npy, or 0.1sd "
        "for a tenth of each column's standard deviation.",
        kind="sizes",
    )
    norm: NormName = option("linf", "Norm of the attack.")  # noqa: RUF009  # a field

    @property
    def epsilon(self) -> float:
        """ε as a number, in the units of the input; 1 where sizes are by feature."""
        return super().epsilon or 0.0


@dataclass(frozen=True, kw_only=True)
class ModelConfig(DataConfig):
    """A run on one model.

    Attributes:
        model, weights: as in :mod:`worldline.loading`.
    """

    model: str = option(
        "cnn",
        "Zoo name, package.module:factory, file.py:factory, model.pt2, model.onnx or hf:FOLDER.",
        positional=True,
    )
    weights: str = option(
        "", "State dict for a factory's model: .safetensors, or .pt (weights only).", metavar="FILE"
    )

    @property
    def stem(self) -> str:
        """By the model and the data."""
        return f"{self.command}-{_stem(self.model)}-{_stem(self.data)}"


@dataclass(frozen=True, kw_only=True)
class ModelsConfig(DataConfig):
    """A run on several models, each as in :mod:`worldline.loading`, or ``factory@weights``."""

    fewest: ClassVar[int] = 1

    models: tuple[str, ...] = option((), "As for one model; factory@weights.", positional=True)

    def __post_init__(self) -> None:
        """Refuse too few models, and one twice."""
        super().__post_init__()
        if len(self.models) < self.fewest:
            raise UsageError(
                f"Name at least {self.fewest} model{'s' * (self.fewest > 1)}; got "
                f"{shorten(', '.join(self.models)) or 'none'}."
            )
        twice = sorted({name for name in self.models if self.models.count(name) > 1})
        if twice:
            raise UsageError(
                f"{shorten(', '.join(twice))} is named twice. Another seed of a zoo model is "
                f"{shorten(twice[0].split('@')[0])}@1."
            )

    @property
    def stem(self) -> str:
        """By the data."""
        return f"{self.command}-{_stem(self.data)}"


def by_feature(eps: str) -> bool:
    """Whether an ε, as written, is a size for each feature."""
    return eps == GIVEN or eps.endswith((".npy", "sd"))


def _stem(spec: str) -> str:
    """What a folder calls a model or data: ``mine`` of ``nets/mine.py:build``."""
    return Path(spec.removeprefix("hf:").split(":")[0]).stem or "run"


def _parse_one(text: str, name: str) -> float:
    """A number where sizes by feature cannot be."""
    if by_feature(text):
        raise UsageError(
            f"{name} is one number here: {shorten(text)!r} is a size for each feature, which "
            "explore, doctor and distant --make take."
        )
    return parse_number(text, name)


def parse_number(text: str, name: str) -> float:
    """A finite number, or a fraction such as ``8/255``.

    >>> from worldline.runs.config import parse_number
    >>> parse_number("1/4", "--eps")
    0.25
    """
    try:
        top, _, bottom = text.partition("/")
        value = float(top) / float(bottom) if bottom else float(top)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(
            f"{name} must be a number or a fraction such as 8/255; got {shorten(text)!r}."
        )
    return value


def _parse_sizes(text: str, name: str) -> float:
    """A number, the number before ``sd``, or 1 for a file."""
    return (
        1.0
        if text == GIVEN or text.endswith(".npy")
        else parse_number(text.removesuffix("sd"), name)
    )


def parse_size(text: str, name: str) -> int:
    """Bytes: a positive number with its unit, ``B``, ``kB``, ``MB``, ``GB``, ``TB``, or ``KiB`` ….

    >>> from worldline.runs.config import parse_size
    >>> parse_size("2GB", "--memory"), parse_size("1.5 GiB", "--memory")
    (2000000000, 1610612736)
    """
    units = {"b": 1}
    for power, letter in enumerate("kmgt", 1):
        units |= {f"{letter}b": 1000**power, f"{letter}ib": 1024**power}
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{0,9})?)\s*([a-zA-Z]+)\s*", text)
    factor = units.get(found[2].lower()) if found else None
    size = round(float(found[1]) * factor) if found and factor else 0
    if size < 1:
        raise UsageError(
            f"{name} must be a size with its unit, such as 2GB, 500MB or 1.5GiB; got "
            f"{shorten(text)!r}."
        )
    return size


def parse_bounds(text: str) -> Bounds:
    """``low,high`` with low < high, or ``auto``.

    >>> from worldline.runs.config import parse_bounds
    >>> parse_bounds("0,255")
    (0.0, 255.0)
    """
    if text == "auto":
        return AUTO
    parts = text.split(",")
    if len(parts) != 2:
        raise UsageError(
            f"--bounds must be 'low,high', such as 0,1, or auto; got {shorten(text)!r}."
        )
    low, high = (parse_number(part.strip(), "--bounds") for part in parts)
    return low, high


EXPECTED = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _expected(it: Described) -> str:
    """In words, what an option takes."""
    if it.hint == Bounds:
        return "two numbers, low and high"
    if get_origin(it.plain) is Literal:
        return f"one of {', '.join(get_args(it.plain))}"
    if get_origin(it.plain) is tuple:
        part = EXPECTED[get_args(it.plain)[0]].removeprefix("a ")
        return f"a list of {part}{'s' * (part != 'text')}"
    return EXPECTED[it.plain]


def _parse(it: Described, value: Any) -> Any:
    """What the command line gave, by the option's type."""
    if it.hint == Bounds and isinstance(value, str):
        return parse_bounds(value)
    return _validated(it, value, strict=False)


def _validated(it: Described, value: Any, *, strict: bool) -> Any:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  # --help need not wait

    try:
        return TypeAdapter(it.hint).validate_json(json.dumps(value), strict=strict)
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise it.refused(_expected(it), repr(value)) from error


def _check(it: Described, value: Any) -> None:
    """Refuse a value outside the option's limits, whoever gave it."""
    if get_origin(it.plain) is Literal and value not in get_args(it.plain):
        raise it.refused(_expected(it), repr(value))
    if it.hint == Bounds and value != AUTO:
        pair = isinstance(value, tuple) and len(value) == 2 and all(map(math.isfinite, value))
        if not (pair and value[0] < value[1]):
            raise it.refused("'low,high' with low < high", repr(value))
    elif isinstance(value, str):
        parse = {"number": _parse_one, "size": parse_size, "sizes": _parse_sizes}.get(
            it.option.kind
        )
        if parse and (value or it.default) and parse(value, it.flag) <= 0:
            raise it.refused("positive", value)
        if "\0" in value:
            raise UsageError(f"{it.flag} holds a null byte, which no name can: {shorten(value)!r}.")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_range(it, value)


def _check_range(it: Described, value: float) -> None:
    low, high = it.option.least, it.option.below
    if isinstance(value, int) and abs(value) > LARGEST_SEED:
        raise UsageError(f"{it.flag} is larger than any run could use: {shorten(str(value))}.")
    if not math.isfinite(value):
        raise it.refused("a finite number", value)
    if low is not None and value < low:
        raise it.refused(f"at least {low}", value)
    if high is not None and value >= high:
        raise it.refused(f"below {high}", value)


def _read_toml(kind: type[Config], path: str | Path) -> dict[str, Any]:
    """The keys that a file sets, in the types of the configuration."""
    text = read_text(path, "configuration", UsageError, limit=LONGEST_CONFIG)
    shown = repr(shorten(str(path)))
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        why = shorten(str(error))
        raise UsageError(f"The configuration {shown} is not TOML: {why}.") from error
    known, keys = {it.name: it for it in options_of(kind)}, content.get(kind.command, {})
    if not isinstance(keys, dict):
        raise UsageError(f"[{kind.command}] in {shown} must be a table.")
    unknown = sorted((set(content) - {kind.command}) | (set(keys) - set(known)))
    if unknown:
        raise UsageError(
            f"Unknown keys in {shorten(Path(path).name)}: {shorten(', '.join(unknown))}. "
            f"[{kind.command}] knows {', '.join(known)}."
        )
    return {name: _of_toml(known[name], value) for name, value in keys.items()}


def _of_toml(it: Described, value: Any) -> Any:
    if it.hint == Bounds and value == "auto":
        return AUTO
    if it.option.kind in ("number", "sizes") and type(value) in (int, float):
        value = str(value)
    if not isinstance(value, (str, int, float, bool, list)):
        raise UsageError(f"{it.name} must be {_expected(it)}; got a {type(value).__name__}.")
    return _validated(it, value, strict=True)
