"""One layer's features as a function of the input, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from worldline.errors import LayerError, ModelError
from worldline.trace.guard import untouched
from worldline.trace.layers import Layer, features_of, find_layers, pick_layers
from worldline.trace.opening import Model
from worldline.trace.values import logits_in
from worldline.trace.watching import watching

__all__ = ["one_layer", "reading"]


def one_layer(model: Model, x: Tensor, name: str | nn.Module | None = None) -> Layer:
    """The one layer of this name; without a name, the embedding, which the classifier reads.

    Args:
        model: the model.
        x: (N, …) a few inputs; two are used.
        name: a layer's name, a module's name, a module of the model, or a glob that matches one
            layer.

    Raises:
        LayerError: no layer or several match, or what the module returns has no batch dimension.

    >>> import torch, worldline as wl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> wl.trace.one_layer(model, torch.rand(2, 4)).name
    '1'
    """
    if name is None:
        found = find_layers(model, x)
        return next((it for it in found if it.embedding), found[0])
    chosen = pick_layers(model, x, [name])
    if len(chosen) > 1:
        names = ", ".join(layer.name for layer in chosen)
        raise LayerError(
            f"One layer is needed, and {name!r} matches {len(chosen)}: {names}. Name one of them."
        )
    return chosen[0]


@contextmanager
def reading(model: Model, layer: Layer) -> Iterator[Callable[[Tensor], tuple[Tensor, object]]]:
    """A function from inputs to one layer's features (N, D) and the model's answer.

    It is differentiable in the inputs. The answer is the logits where the output has some
    (:func:`worldline.trace.logits_in`), else the output itself. The model is in eval mode and left
    as it was. Where an in-place module follows, the features are those before it.

    Raises:
        LayerError: from the function, where the layer did not run in this pass, or gave something
            else than when it was found.

    >>> import torch, worldline as wl
    >>> model, x = torch.nn.Linear(2, 3), torch.rand(4, 2)
    >>> with wl.trace.reading(model, wl.trace.one_layer(model, x, "output")) as read:
    ...     features, _ = read(x)
    >>> tuple(features.shape)
    (4, 3)
    """
    kept: list[Tensor] = []
    samples = 0

    def visit(name: str, call: int, output: object) -> None:
        if (name, call) == (layer.module, layer.call):
            kept.append(features_of(layer, output, samples).clone())

    with untouched(model), watching(model, visit, frozenset([layer.module])) as run:

        def read(x: Tensor) -> tuple[Tensor, object]:
            nonlocal samples
            samples = len(x)
            kept.clear()
            output = run(x)
            if not kept:
                raise LayerError(
                    f"Layer {layer.name!r} never ran in this forward pass. Choose one that always "
                    "runs."
                )
            return kept.pop(), _answer(output, samples)

        yield read


def _answer(output: object, samples: int) -> object:
    try:
        return logits_in(output, samples)
    except ModelError:
        return output
