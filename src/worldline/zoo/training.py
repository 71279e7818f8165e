"""Train the zoo's models from a seed, once, and keep them in the user's cache folder by content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save
from torch import nn

from worldline.attacks import PGD
from worldline.errors import InputError, UsageError
from worldline.files import read_bytes, replacing
from worldline.settings import Progress, silent
from worldline.zoo import networks
from worldline.zoo.digit_data import digits

__all__ = ["MODELS", "cache_folder", "load", "names"]


@dataclass(frozen=True)
class Recipe:
    """How a model of the zoo is trained: Adam, a cosine schedule, cross-entropy, no augmentation.

    ``epsilon`` > 0 trains on PGD twins (L∞, 7 steps of ε/4, random start; Madry et al. 2018).
    """

    network: str
    epochs: int = 25
    batch_size: int = 64
    learning_rate: float = 2e-3
    epsilon: float = 0.0


MODELS = {
    "cnn": Recipe("cnn"),
    "cnn-adv": Recipe("cnn", epsilon=0.15),
    "linear": Recipe("linear", epochs=60, learning_rate=1e-2),
    "mlp": Recipe("mlp"),
    "mlp-adv": Recipe("mlp", epochs=40, epsilon=0.15),
    "resnet": Recipe("resnet", learning_rate=1e-3),
    "vit": Recipe("vit", epochs=40, learning_rate=1e-3),
}
"""The embedded models, each with its recipe."""


def names() -> tuple[str, ...]:
    """Names of the zoo's models.

    >>> import worldline as wl
    >>> wl.zoo.names()
    ('cnn', 'cnn-adv', 'linear', 'mlp', 'mlp-adv', 'resnet', 'vit')
    """
    return tuple(sorted(MODELS))


def cache_folder() -> Path:
    """Where trained models are kept.

    ``$WORLDLINE_CACHE``, else ``$XDG_CACHE_HOME/worldline``, else ``~/.cache/worldline``.

    >>> import worldline as wl
    >>> wl.zoo.cache_folder().is_absolute()
    True
    """
    if own := os.environ.get("WORLDLINE_CACHE"):
        return Path(own)
    try:
        home = Path.home()
    except RuntimeError:  # nobody's
        home = Path(tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "worldline"


def load(name: str, *, seed: int = 0, progress: Progress = silent) -> nn.Module:
    """A trained model of the zoo, in eval mode.

    Args:
        name: one of :func:`names`.
        seed: of initialisation, order of batches and attacks; another seed is another model.
        progress: is told of epochs, while training.

    Returns:
        The model. The first call trains it (seconds; adversarially, tens of seconds) and stores it
        as safetensors in :func:`cache_folder` under the hash of recipe, seed, data, code and torch
        version; later calls read it. On one machine, the same call gives the same weights. A cache
        that cannot be read or written is no error.

    Raises:
        UsageError: no such model.

    >>> import torch, worldline as wl
    >>> wl.zoo.load("linear")(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 10])
    """
    if name not in MODELS:
        raise UsageError(f"The zoo has no model {name!r}; it has {', '.join(names())}.")
    recipe = MODELS[name]
    path = cache_folder() / "zoo" / f"{name}-{seed}-{_key(recipe, seed)}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = networks.NETWORKS[recipe.network]()
    if not _filled(model, path):
        _train(model, recipe, seed, progress)
        try:
            with replacing(path, InputError) as temporary:
                temporary.write_bytes(save(model.state_dict()))
        except InputError as error:
            warnings.warn(
                f"The trained model {name} is not kept: {error} It is trained anew each time; "
                "$WORLDLINE_CACHE may name another folder.",
                stacklevel=2,
            )
    return model.eval()


def _filled(model: nn.Module, path: Path) -> bool:
    """Whether the cache had the weights: what is no whole file there is as good as none."""
    try:
        model.load_state_dict(load_bytes(read_bytes(path, "kept model", InputError)))
    except (InputError, SafetensorError, RuntimeError, ValueError, KeyError):
        return False
    return True


def _train(model: nn.Module, recipe: Recipe, seed: int, progress: Progress) -> None:
    data = digits()
    x, y = data.reference_x, data.reference_y
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    per_epoch = -(-len(x) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * per_epoch)
    model.train()
    for epoch in range(recipe.epochs):
        for number, rows in enumerate(
            torch.randperm(len(x), generator=generator).split(recipe.batch_size)
        ):
            inputs = x[rows]
            if recipe.epsilon:
                attack = PGD(
                    epsilon=recipe.epsilon,
                    steps=7,
                    step_size=recipe.epsilon / 4,
                    keep="last",
                    seed=seed + epoch * per_epoch + number,
                )
                inputs = attack(model, inputs, y[rows]).x
            loss = nn.functional.cross_entropy(model(inputs), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        progress("Training", epoch + 1, recipe.epochs)
    optimizer.zero_grad()


def _key(recipe: Recipe, seed: int) -> str:
    data = digits()
    digest = hashlib.sha256(
        json.dumps([asdict(recipe), seed, torch.__version__], sort_keys=True).encode()
    )
    for source in (Path(networks.__file__), Path(__file__)):
        digest.update(source.read_bytes())
    digest.update(data.reference_x.numpy().tobytes())
    return digest.hexdigest()[:16]
