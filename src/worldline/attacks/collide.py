"""Make two inputs meet at a layer, or part: feature matching to a stranger, or from oneself."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from worldline.attacks.budget import Budget
from worldline.attacks.matching import Collided, Matching, Objective
from worldline.errors import ShapeError, UsageError
from worldline.inputs import check_inputs
from worldline.settings import DEFAULT, NormName, Settings
from worldline.trace import Model

__all__ = ["entangle", "separate"]


def entangle(
    model: Model,
    x: Float[Tensor, "N ..."],
    stranger: Float[Tensor, "N ..."],
    layer: str | nn.Module | None = None,
    *,
    reference: tuple[Tensor, Tensor],
    epsilon: float | None = None,
    sign: int = 1,
    norm: NormName = "linf",
    budget: Budget | None = None,
    steps: int = 200,
    step_size: float | None = None,
    objective: Objective = "distance",
    keep_path: bool = False,
    settings: Settings = DEFAULT,
) -> Collided:
    """Move each input until a layer cannot tell it from its stranger, or finds it its opposite.

    Feature matching: x ← project(x − step · direction(∇ₓ |M(f(x) − o) − sign · M(f(s) − o)|²)) with
    o, M the frame, or with the objective ``rapidity``, along ∇ₓ sign · φ. Steps shrink as a half
    cosine; the best iterate is kept.

    Args:
        model: any model; with logits (N, K) predictions are reported.
        x, stranger: (N, …) inputs and the input that each shall meet.
        layer: where; default: the embedding, which the classifier reads.
        reference: inputs and labels that set the frame and say what close means.
        epsilon: how far each input may move, in input units; None: anywhere inside the bounds.
        sign: +1 the stranger's features, −1 their mirror image in the frame's origin.
        norm: ``linf`` or ``l2``.
        budget: in place of both, where ε or the bounds are by feature, or there is a mask.
        steps: gradient steps.
        step_size: the first one; default: a tenth of ε, or a twentieth of the bounds' width
            (``l2``: times √entries).
        objective: ``distance`` matches direction and length, ``rapidity`` the direction alone.
        keep_path: return all iterates.
        settings: bounds, frame, batch size, progress, and the seed of the reference pairs.

    Returns:
        :class:`Collided`. Its success is relative to the reference: features closer to the
        stranger's than nine tenths of pairs of one class are to each other. It is a lower bound on
        what can be made to collide.

    Raises:
        ShapeError, BoundsError, LabelError, LayerError, UsageError: what was given does not fit.

    Cost: steps + 1 forward and backward passes. Source: Sabour et al., arXiv:1511.05122 (L-BFGS
    there; for images).

    >>> import worldline as wl
    >>> data, model = wl.zoo.digits(), wl.zoo.load("mlp")
    >>> made = wl.attacks.entangle(
    ...     model,
    ...     data.x[:4],
    ...     data.x[4:8],
    ...     "relu2",
    ...     reference=(data.reference_x, data.reference_y),
    ...     steps=50,
    ... )
    >>> bool((made.distance < made.distance_before / 4).all())
    True
    """
    if sign not in (1, -1):
        raise UsageError(
            f"sign must be +1 (the stranger's features) or -1 (their opposite); got {sign!r}."
        )
    if budget is not None and epsilon is not None:
        raise UsageError("Both epsilon and a budget say how far inputs may move; give one.")
    check_inputs(stranger, settings.bounds)
    if stranger.shape != x.shape:
        raise ShapeError(
            f"Each input needs one stranger: {tuple(x.shape)} inputs, {tuple(stranger.shape)} "
            f"strangers."
        )
    run = Matching.of(
        model,
        x,
        layer,
        reference=reference,
        epsilon=epsilon,
        norm=norm,
        steps=steps,
        step_size=step_size,
        objective=objective,
        keep_path=keep_path,
        settings=settings,
        budget=budget,
    )
    return run(x, stranger, sign)


def separate(
    model: Model,
    x: Float[Tensor, "N ..."],
    layer: str | nn.Module | None = None,
    *,
    reference: tuple[Tensor, Tensor],
    epsilon: float,
    norm: NormName = "linf",
    steps: int = 50,
    step_size: float | None = None,
    objective: Objective = "distance",
    keep_path: bool = False,
    settings: Settings = DEFAULT,
) -> Collided:
    """Move each input within ε so that its features leave those of its clean twin.

    The reverse of :func:`entangle`: ascent on |f(x) − f(x₀)|² in the frame (or on −φ), from a
    random start in the ball. Arguments as :func:`entangle`; the seed also draws the starts.

    Returns:
        :class:`Collided` with sign 0: ``distance`` and ``rapidity`` are to the input's own
        features, and success means further from itself than nine tenths of pairs of one class are
        from each other.

    Raises:
        ShapeError, BoundsError, LabelError, LayerError, UsageError: what was given does not fit.

    Cost: steps + 1 forward and backward passes.

    >>> import worldline as wl
    >>> data, model = wl.zoo.digits(), wl.zoo.load("mlp")
    >>> parted = wl.attacks.separate(
    ...     model,
    ...     data.x[:4],
    ...     "relu2",
    ...     reference=(data.reference_x, data.reference_y),
    ...     epsilon=0.15,
    ...     steps=10,
    ... )
    >>> bool((parted.distance > 0).all())
    True
    """
    run = Matching.of(
        model,
        x,
        layer,
        reference=reference,
        epsilon=epsilon,
        norm=norm,
        steps=steps,
        step_size=step_size,
        objective=objective,
        keep_path=keep_path,
        settings=settings,
    )
    return run(x, x, 0)
