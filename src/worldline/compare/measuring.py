"""Transfer as attacks find it: each source attacked once, each target shown that and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldline.attacks import Attack, Descent, adversarial_twin, noise_twin
from worldline.compare.checks import (
    check_constant,
    check_given,
    check_gradient,
    check_label_order,
    check_left,
)
from worldline.compare.models import Answers, Failure, Models, dropping_out, opened
from worldline.compare.probes import drawn_counts
from worldline.errors import UsageError
from worldline.inputs import in_dtype_of, labels_of
from worldline.settings import DEFAULT, Settings

__all__ = ["Measured", "SourceResult", "measure"]

ENDS = torch.tensor([0.025, 0.975])


@dataclass(frozen=True)
class SourceResult:
    """What one source's adversarial inputs did to every target; what a run stores to be resumed.

    Attributes:
        source: its name.
        targets: names of the targets, rows of the tensors.
        adversarial, noise: (T, N) int64 classes that the targets give the adversarial inputs and
            their noise twins.
    """

    source: str
    targets: tuple[str, ...]
    adversarial: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Measured:
    """Measured transfer between M models; rows are sources, columns are targets.

    Attributes:
        names: the models that could be measured.
        rate: (M, M) share of the samples that the target had right and loses to the source's
            attack, minus the share that it loses to noise of the same norm. The diagonal is the
            attack on the model itself. NaN where a target had no sample right.
        adversarial_rate, noise_rate: the two shares.
        same_mistake: (M, M) share that source and target lose to the *same* wrong class, minus the
            same for noise.
        interval: (M, M, 2) 95 % percentile bootstrap interval of ``rate`` over samples.
        fooled, noise_fooled: (M, M, N) bool, right before and wrong after; the samples behind the
            rates.
        right: (M, N) bool, what each model had right.
        accuracy: (M,) share of right.
        failures: models that dropped out, and why.
    """

    names: tuple[str, ...]
    rate: Tensor
    adversarial_rate: Tensor
    noise_rate: Tensor
    same_mistake: Tensor
    interval: Tensor
    fooled: Tensor
    noise_fooled: Tensor
    right: Tensor
    accuracy: Tensor
    failures: tuple[Failure, ...]

    def only(self, names: Sequence[str]) -> Measured:
        """The same for some of the models, in this order."""
        rows = torch.tensor([self.names.index(name) for name in names])
        by_model = {"right", "accuracy"}
        tables: Mapping[str, Any] = {
            name: it[rows] if name in by_model else it[rows][:, rows]
            for name, it in vars(self).items()
            if isinstance(it, Tensor)
        }
        return replace(self, names=tuple(names), **tables)

    def reliability(self, *, splits: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Rates on two random halves of the samples, (splits, M, M) each.

        How far they agree is how far any prediction could agree with the rates.
        """
        generator = torch.Generator().manual_seed(seed)
        halves: tuple[list[Tensor], list[Tensor]] = ([], [])
        for _ in range(splits):
            order = torch.randperm(self.right.shape[1], generator=generator)
            for rows, out in zip(order.tensor_split(2), halves, strict=True):
                lost, noise = (it[..., rows].sum(-1) for it in (self.fooled, self.noise_fooled))
                out.append((lost - noise).double() / self.right[:, rows].sum(-1))
        return torch.stack(halves[0]), torch.stack(halves[1])


def measure(
    models: Models,
    x: Float[Tensor, "N ..."],
    y: Int[Tensor, " N"],
    attack: Attack,
    *,
    done: Mapping[str, SourceResult] | None = None,
    on_source: Callable[[SourceResult], None] = lambda _result: None,
    classes: int | None = None,
    resamples: int = 200,
    settings: Settings = DEFAULT,
) -> Measured:
    """Attack every model and show the result to every other.

    rate[s, t] is the mean, over the samples that t had right, of [t wrong on s's adversarial
    input] − [t wrong on its noise twin].

    Args:
        models: name → model or :class:`Loader`. Loaders are called 1 + 2M times in all; the attack
            needs gradients of sources, targets may be black boxes.
        x, y: (N, …) inputs inside the bounds and (N,) labels; at least 30 samples.
        attack: ``attack(model, x, y)``, ours or a foreign one.
        done: source name → finished result of an earlier run on the same models, samples and
            attack: not run again.
        on_source: called with each finished source, for keeping.
        classes: number of classes, needed where the first model answers with labels only.
        resamples: of the intervals.
        settings: bounds, in which the noise twins stay; batch size; seed of intervals and noise
            twins; progress.

    Returns:
        :class:`Measured`. A rate of 0: no better than noise; 1: everything transfers; below 0:
        worse than noise. A model whose attack or pass fails is named in ``failures`` and left out;
        the others' results are kept.

    Raises:
        UsageError, ShapeError, BoundsError, LabelError: input that cannot be used.
        ModelError: fewer than two models left.

    Cost: M attacks, and 2M² + M forward passes of the samples; memory one model (of loaders), N
    inputs and 2M²N booleans.

    >>> import torch, worldline as wl
    >>> models = {"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)}
    >>> x, y = torch.rand(40, 2), torch.arange(40) % 2
    >>> wl.compare.measure(models, x, y, wl.attacks.FGSM(epsilon=0.1)).rate.shape
    torch.Size([2, 2])
    """
    check_given(models, x, settings)
    y = labels_of(y, len(x))
    run = _Run(models, x, y, settings, classes)
    run.look()
    results = {name: it for name, it in (done or {}).items() if name in run.clean}
    for name, result in results.items():
        run.take_up(name, result)
    for number, name in enumerate(models):
        if name in run.clean and name not in results:
            found = run.attack(name, attack)
            if found is not None:
                results[name] = found
                on_source(found)
        settings.progress("Measuring transfer", number + 1, len(models))
    left = tuple(name for name in run.clean if name in results and name not in run.failures)
    check_left(len(left), run.failures)
    return _collect(left, run, results, resamples, settings.seed)


class _Run:
    """What is known of the models so far."""

    def __init__(
        self, models: Models, x: Tensor, y: Tensor, settings: Settings, classes: int | None
    ) -> None:
        self.models, self.x, self.y, self.settings = models, x, y, settings
        self.clean: dict[str, Tensor] = {}  # name → (N,) classes
        self.failures: dict[str, Failure] = {}
        self.classes = classes

    def classify(self, name: str, x: Tensor) -> Tensor | None:
        """A model's classes (N,); None, and a failure on record, where it cannot say."""
        with dropping_out(name, self.failures), opened(name, self.models[name]) as model:
            answers = Answers(name, model, self.classes)
            scores = answers(x, self.settings.batch_size)
            check_constant(name, scores)
            self.classes = answers.classes
            return scores.argmax(1)
        return None

    def look(self) -> None:
        """Every model's answers to the clean inputs."""
        for number, name in enumerate(self.models):
            found = self.classify(name, self.x)
            if found is not None:
                self.clean[name] = found
            self.settings.progress("Looking at clean inputs", number + 1, len(self.models))
        check_left(len(self.clean), self.failures)
        self.y = labels_of(self.y, len(self.x), classes=self.classes)
        check_label_order(self.clean, self.y, self.classes or 2)

    def take_up(self, name: str, result: SourceResult) -> None:
        """Go on from an earlier result; a target that it lacks dropped out then, and stays out.

        Raises:
            UsageError: it is of another source or of other samples.
        """
        if result.source != name or result.adversarial.shape[1] != len(self.x):
            raise UsageError(
                f"The earlier result of source {name!r} is of {result.source!r} on "
                f"{result.adversarial.shape[1]} samples; this run has {len(self.x)}. Resume with "
                "the same models and samples, or begin anew."
            )
        for target in set(self.clean) - set(result.targets):
            reason = f"It did not answer to {name}'s inputs in an earlier part of this run."
            self.failures.setdefault(target, Failure(target, reason))

    def attack(self, source: str, attack: Attack) -> SourceResult | None:
        """One source's adversarial inputs and their noise twins, shown to all targets left."""
        adversarial = None
        with dropping_out(source, self.failures), opened(source, self.models[source]) as model:
            x = in_dtype_of(model, self.x)
            if isinstance(attack, Descent):
                check_gradient(model, x, self.y)
            adversarial = adversarial_twin(attack, model, x, self.y)
        if adversarial is None:
            return None
        generator = torch.Generator().manual_seed(self.settings.seed)
        noise = noise_twin(x, adversarial, bounds=self.settings.bounds, generator=generator)
        shown = torch.cat([adversarial, noise])
        left = [name for name in self.clean if name not in self.failures]
        rows = {name: self.classify(name, shown) for name in left}
        known = {name: row for name, row in rows.items() if row is not None}
        table = torch.stack(list(known.values()))  # (T, 2N)
        return SourceResult(source, tuple(known), table[:, : len(self.x)], table[:, len(self.x) :])


def _collect(
    names: tuple[str, ...],
    run: _Run,
    results: Mapping[str, SourceResult],
    resamples: int,
    seed: int,
) -> Measured:
    y = run.y.cpu()
    clean = torch.stack([run.clean[name] for name in names])  # (M, N)
    right = clean == y

    def gather(kind: str) -> Tensor:
        """(M, M, N) classes."""
        rows = []
        for source in names:
            place = {target: row for row, target in enumerate(results[source].targets)}
            rows.append(getattr(results[source], kind)[[place[target] for target in names]])
        return torch.stack(rows)

    adversarial, noise = gather("adversarial"), gather("noise")
    fooled, noise_fooled = (adversarial != y) & right, (noise != y) & right
    own = adversarial.diagonal(dim1=0, dim2=1).T, noise.diagonal(dim1=0, dim2=1).T  # (M, N)
    same = fooled & (adversarial == own[0][:, None])
    noise_same = noise_fooled & (noise == own[1][:, None])
    count = right.sum(1).double()  # zero gives NaN
    shares = [flags.sum(-1).double() / count for flags in (fooled, noise_fooled, same, noise_same)]
    return Measured(
        names=names,
        rate=shares[0] - shares[1],
        adversarial_rate=shares[0],
        noise_rate=shares[1],
        same_mistake=shares[2] - shares[3],
        interval=_interval(fooled, noise_fooled, right, resamples, seed),
        fooled=fooled,
        noise_fooled=noise_fooled,
        right=right,
        accuracy=right.double().mean(1),
        failures=tuple(run.failures.values()),
    )


def _interval(
    fooled: Tensor, noise_fooled: Tensor, right: Tensor, resamples: int, seed: int
) -> Tensor:
    """(M, M, 2), from samples drawn again, the same for all pairs: weights times flags."""
    weights = drawn_counts(right.shape[1], resamples, seed)
    count = weights @ right.float().T  # (R, M)
    rows = []
    for adversarial, noise in zip(fooled, noise_fooled, strict=True):
        lost = weights @ (adversarial.float() - noise.float()).T
        rows.append(torch.nanquantile(lost / count, ENDS, dim=0).T)
    return torch.stack(rows).double()
