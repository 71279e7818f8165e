"""Pairs through encoders beside the exact law of their walk; the controls of all experiments."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldline.encoder.controls import rank_one, sign_kept_large_width, sign_kept_probability
from worldline.encoder.experiments.record import Control, Controls, Measurement, mean_of, percent
from worldline.encoder.joint import encode_together
from worldline.encoder.laws import rapidity_walk
from worldline.encoder.machine import Encoder
from worldline.encoder.path import Path
from worldline.encoder.rates import rapidity_gain, rapidity_rate
from worldline.encoder.selection import Selection
from worldline.geometry.pair import log_lorentz_factor, rapidity

__all__ = [
    "NOBODY_LISTENS",
    "Walk",
    "controls_of",
    "follow",
    "from_fitted",
    "measure_rate",
    "normals",
    "resolvable",
]

CONE = 7.0  # nats: sinh φ = e^φ/2 to 1e-6, so the pair is near the light cone
# nats: float64 vectors stop at 36, and one pair in e^10 runs ten nats ahead where k is 2
RESOLVED = 26.0
LAW_NUMBERS = 2_000_000  # normals spent on drawing from a law
WIDE = 512  # from here on the large-width law of the sign is good to a percent
COMPOSE_OPERATIONS = 6e8
SIGN_KEPT = "pairs that end with the sign they began with"
NOBODY_LISTENS = Control("Does not apply: no message is carried.")


@dataclass(frozen=True)
class Walk:
    """Features through P independent encoders, beside the exact law of their walk.

    Attributes:
        path: the features, fitted one first.
        rapidity: (L + 1, P, M) of the M other features from the fitted one.
        law: (L + 1, W) drawn from the exact walk, from the same starts.
        resolved: the last layer at which float64 still resolves every pair.
        generator: of what is drawn next.
    """

    path: Path
    rapidity: Tensor
    law: Tensor
    resolved: int
    generator: torch.Generator

    def information(self, of: str = "") -> Measurement:
        """Mean ln γ after the last layer at which it is resolved."""
        measured = log_lorentz_factor(self.rapidity[self.resolved]).mean(1)
        law = log_lorentz_factor(self.law[self.resolved])
        return mean_of(f"mean ln γ {of}after layer {self.resolved}", measured, law, "nats")


def normals(generator: torch.Generator, *shape: int) -> Tensor:
    """Unrelated Gaussian features, float64."""
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def follow(encoder: Encoder, features: Tensor, generator: torch.Generator) -> Walk:
    """Send features (P, M + 1, D), the fitted one first, and draw from the law of their walk."""
    path = encode_together(encoder, features, generator=generator)
    phi = torch.stack([from_fitted(at) for at in path.directions])
    selection, starts = encoder.selection, phi[0].flatten()
    walkers = max(32, min(20_000, LAW_NUMBERS // (encoder.width * encoder.depth)))
    rows = torch.randint(len(starts), (walkers,), generator=generator)
    law = rapidity_walk(starts[rows], selection, encoder.depth, generator=generator)
    return Walk(path, phi, law, resolved(selection, encoder.depth, start=2.0), generator)


def measure_rate(
    encoder: Encoder, pairs: int, inputs: int, generator: torch.Generator
) -> Measurement:
    """Nats per layer of pairs that are put near the light cone, each with an encoder of its own."""
    depth = resolved(encoder.selection, encoder.depth, start=CONE)
    x, across = normals(generator, 2, pairs, inputs)
    x = torch.nn.functional.normalize(x, dim=-1)
    across = torch.nn.functional.normalize(across - (across * x).sum(-1, keepdim=True) * x, dim=-1)
    near = torch.stack((x, math.tanh(CONE) * x + across / math.cosh(CONE)), 1)
    path = encode_together(replace(encoder, depth=depth), near, generator=generator)
    start, end = (
        rapidity(at[:, 0], at[:, 1]).abs() for at in (path.directions[0], path.directions[-1])
    )
    return mean_of(
        "rapidity per layer near the light cone",
        (end - start) / depth,
        rapidity_rate(encoder.selection),
        "nats",
    )


def from_fitted(directions: Tensor) -> Tensor:
    """Rapidities (P, M) of the other features from the first of each row of (P, M + 1, D)."""
    first, others = directions[:, :1].expand_as(directions[:, 1:]), directions[:, 1:]
    return rapidity(first.flatten(0, 1), others.flatten(0, 1)).view(others.shape[:2])


def resolvable(phi: Tensor) -> Tensor:
    """|φ| up to what float64 vectors can show: beyond it rounding makes pairs parallel, φ = ∞."""
    return phi.abs().clamp_max(53 * math.log(2))


def controls_of(
    encoder: Encoder,
    inputs: int,
    generator: torch.Generator,
    rapidity: Tensor,
    *,
    pairs: int,
    eavesdropper: Control = NOBODY_LISTENS,
    time_alone: Control | None = None,
) -> Controls:
    """The controls of an experiment.

    Args:
        encoder: of the experiment.
        inputs: width of its features.
        generator: of what the controls draw.
        rapidity: before the first layer (first) and after the last (last), each (P,) or (P, M) of P
            encoders.
        pairs: through plain layers.
        eavesdropper, time_alone: what the experiment found itself.
    """
    return Controls(
        no_selection=_no_selection(encoder, pairs, inputs, generator),
        rank_one=rank(encoder, inputs, generator),
        sign_kept=_sign_kept(rapidity[0], rapidity[-1], encoder.selection, encoder.depth),
        eavesdropper=eavesdropper,
        time_alone=time_alone,
    )


def _no_selection(encoder: Encoder, pairs: int, inputs: int, generator: torch.Generator) -> Control:
    """As many pairs through plain Gaussian layers, k of k kept."""
    plain = replace(encoder, candidates=encoder.width, rule="none")
    evidence = measure_rate(plain, pairs, inputs, generator)
    exact = rapidity_rate(plain.selection)
    return Control(
        f"Plain Gaussian layers (k = n) merge pairs too, by ½[ψ(k/2) − ψ((k−1)/2)] = {exact:.3g} "
        f"nats per layer (measured {evidence.measured:.3g} ± {evidence.standard_error:.1g}): "
        f"{part_of_rate(exact, rapidity_rate(encoder.selection))}.",
        evidence,
    )


def part_of_rate(plain: float, selected: float) -> str:
    """What selection adds to a rate that plain layers have by themselves, in words.

    >>> from worldline.encoder.experiments.walks import part_of_rate
    >>> part_of_rate(0.7, 1.4)
    'that is 50% of the rate with selection, so the figure needs selection only in part'
    """
    if selected <= 0:
        return f"with this selection pairs do not merge but part, by {-selected:.3g} nats per layer"
    part = plain / selected
    if part >= 1:
        return f"with this selection it is {selected:.3g}, so the merging is no work of selection"
    if part > 0.1:
        return (
            f"that is {percent(part)} of the rate with selection, so the figure needs selection "
            "only in part"
        )
    return (
        f"that is {percent(part)} of the rate with selection, which does nearly all of the work "
        "here"
    )


def resolved(selection: Selection, depth: int, *, start: float) -> int:
    """The last layer at which float64 still resolves some thousand pairs that start so high."""
    gain = rapidity_gain(selection)
    layers = range(1, depth + 1)
    highest = ((at, start + gain.mean * at + 4 * math.sqrt(gain.variance * at)) for at in layers)
    return max((at for at, phi in highest if phi < RESOLVED), default=1)


def rank(encoder: Encoder, inputs: int, generator: torch.Generator) -> Control:
    """How near to rank one the product of all layers is, over some independent encoders."""
    operations = encoder.depth * encoder.width**2 * max(encoder.width, inputs)
    copies = int(min(64, COMPOSE_OPERATIONS // operations))
    if copies == 0:
        return _rank_by_strangers(encoder, inputs, generator)
    x = normals(generator, copies, inputs)
    share = rank_one(encoder.fit(x, generator=generator).compose().matrix).share
    spread = float(share.std()) / math.sqrt(copies) if copies > 1 else 0.0
    name = "σ₁²/Σσ² of the composed layers"
    evidence = Measurement(name, float(share.mean()), None, spread, "share")
    several = f"the product of all {encoder.depth} layers"
    what = f"In {several if encoder.depth > 1 else 'one layer'} σ₁²/Σσ² is"
    return Control(_rank_words(evidence.measured, what), evidence)


def _rank_by_strangers(encoder: Encoder, inputs: int, generator: torch.Generator) -> Control:
    """Rank one without its matrix: features that the encoder was not fitted to become parallel."""
    features = normals(generator, 4, 3, inputs)
    end = encode_together(encoder, features, generator=generator).directions[-1]
    parallel = rapidity(end[:, 1], end[:, 2]).tanh().square()
    evidence = mean_of("ρ² of two features that the encoder was not fitted to", parallel, None)
    what = "Two unrelated features, neither of them fitted, leave with a squared correlation of"
    return Control(_rank_words(evidence.measured, what), evidence)


def _rank_words(share: float, what: str) -> str:
    if share > 0.99:
        return (
            f"{what} {share:.4f}: whatever goes in comes out as ±u₁, and one bit of it is left, "
            "the sign of ⟨v₁, x′⟩."
        )
    return f"{what} {share:.2f}: not yet rank one, towards which it goes layer by layer."


def _sign_kept(start: Tensor, end: Tensor, selection: Selection, depth: int) -> Control:
    """How often the sign of the correlation is kept, for (P,) pairs or (P, M) of P encoders."""
    kept = (start.sign() == end.sign()).double()
    grid = start.abs().flatten().quantile(torch.linspace(0.005, 0.995, 100, dtype=start.dtype))
    if selection.width >= WIDE and depth > 1:
        law = float(sign_kept_large_width(grid, selection, depth).mean())
    else:
        draws = max(64, min(4096, LAW_NUMBERS // (selection.width * depth)))
        law = float(sign_kept_probability(grid, selection, depth, samples=draws).value.mean())
    if kept.ndim == 2:
        evidence = mean_of(SIGN_KEPT, kept.mean(1), law, "share")
    else:
        error = math.sqrt(max(law * (1 - law), 1e-12) / len(kept))
        evidence = Measurement(SIGN_KEPT, float(kept.mean()), law, error, "share")
    return Control(
        f"{percent(evidence.measured)} of the pairs end with the sign that they began with (law "
        f"{percent(law)}): which side a feature joins is what is left of it.",
        evidence,
    )
