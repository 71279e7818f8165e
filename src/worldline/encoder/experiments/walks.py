"""Pairs through encoders beside the exact law of their walk; the controls of all experiments."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from worldline.encoder.controls import rank_one, sign_kept_large_width, sign_kept_probability
from worldline.encoder.experiments.record import Control, Controls, Measurement, mean_of, percent
from worldline.encoder.joint import encode_together
from worldline.encoder.laws import rapidity_walk
from worldline.encoder.machine import Encoder
from worldline.encoder.path import Path, from_fitted
from worldline.encoder.rates import rapidity_gain, rapidity_rate
from worldline.encoder.selection import Selection
from worldline.errors import UsageError
from worldline.geometry.pair import log_lorentz_factor, rapidity

__all__ = ["NOBODY_LISTENS", "RESOLVED", "Trial", "Walk", "resolvable"]

# of float64 in the paths that are held at once: 128 MiB, and about thrice that at the peak
MOST_NUMBERS = 2**24
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
        trial: whose encoders they are.
        path: the features, fitted one first.
        rapidity: (L + 1, P, M) of the M other features from the fitted one.
        law: (L + 1, W) drawn from the exact walk, from the same starts; (L + 1, W, M) if each of
            the other features was followed by itself.
        resolved: the last layer at which float64 still resolves every pair.
    """

    trial: Trial
    path: Path
    rapidity: Tensor
    law: Tensor
    resolved: int

    def information(self, of: str = "") -> Measurement:
        """Mean ln γ after the last layer at which it is resolved."""
        measured = log_lorentz_factor(self.rapidity[self.resolved]).mean(1)
        law = log_lorentz_factor(self.law[self.resolved])
        return mean_of(f"mean ln γ {of}after layer {self.resolved}", measured, law, "nats")


@dataclass(frozen=True)
class Trial:
    """Independent encoders of one setting, and all that is drawn for them, in one order.

    Attributes:
        encoder: the setting.
        inputs: D of the features.
        generator: of features, layers and draws from the laws.
    """

    encoder: Encoder
    inputs: int
    generator: torch.Generator

    def affordable(self, wanted: int, *, features: int = 2, least: int = 2) -> int:
        """How many encoders, up to those wanted, have paths that fit in memory together.

        Raises:
            UsageError: not even the least number does.
        """
        width, depth = self.encoder.width, self.encoder.depth
        each = features * (depth * width + self.inputs)
        if each * least > 8 * MOST_NUMBERS:
            raise UsageError(
                f"Width {width}, depth {depth} and features of {self.inputs} numbers need "
                f"{8 * each * least / 2**30:,.1f} GiB for {least} encoders; "
                f"{MOST_NUMBERS * 64 / 2**30:.0f} GiB is allowed. Lower the width, the depth or "
                "the dimension."
            )
        return max(least, min(wanted, MOST_NUMBERS // each))

    def normals(self, *count: int) -> Tensor:
        """Unrelated Gaussian features (…, D), float64."""
        shape = (*count, self.inputs)
        return torch.randn(shape, dtype=torch.float64, generator=self.generator)

    def send(self, features: Tensor) -> Path:
        """Features (P, M + 1, D), the fitted one first, through P encoders."""
        return encode_together(self.encoder, features, generator=self.generator)

    def follow(self, features: Tensor, *, apart: bool = False) -> Walk:
        """Send features, and draw from the law of their walk.

        Args:
            features: (P, M + 1, D), the fitted one first.
            apart: whether the M others begin at different distances, so that each has its law.
        """
        path = self.send(features)
        phi = torch.stack([from_fitted(at) for at in path.directions])
        if apart:
            law = torch.stack([self._law(start) for start in phi[0].unbind(1)], -1)
        else:
            law = self._law(phi[0].flatten())
        return Walk(
            self, path, phi, law, resolved(self.encoder.selection, self.encoder.depth, start=2.0)
        )

    def _law(self, starts: Tensor) -> Tensor:
        """(L + 1, W) drawn from the exact walk, from some of these starts."""
        selection, depth = self.encoder.selection, self.encoder.depth
        walkers = max(32, min(20_000, LAW_NUMBERS // (selection.width * depth)))
        rows = torch.randint(len(starts), (walkers,), generator=self.generator)
        return rapidity_walk(starts[rows], selection, depth, generator=self.generator)

    def rate(self, pairs: int) -> Measurement:
        """Nats per layer of pairs that are put near the light cone, each with its own encoder."""
        selection = self.encoder.selection
        depth = resolved(selection, self.encoder.depth, start=CONE)
        x, across = self.normals(2, pairs)
        x = normalize(x, dim=-1)
        across = normalize(across - (across * x).sum(-1, keepdim=True) * x, dim=-1)
        near = torch.stack((x, math.tanh(CONE) * x + across / math.cosh(CONE)), 1)
        path = replace(self, encoder=replace(self.encoder, depth=depth)).send(near)
        start, end = (rapidity(*path.directions[at].unbind(1)).abs() for at in (0, -1))
        name = "rapidity per layer near the light cone"
        return mean_of(name, (end - start) / depth, rapidity_rate(selection), "nats")

    def controls(
        self,
        ends: Tensor,
        *,
        pairs: int,
        eavesdropper: Control = NOBODY_LISTENS,
        time_alone: Control | None = None,
    ) -> Controls:
        """The controls of an experiment.

        Args:
            ends: rapidities, first before the first layer and last after the last; each (P,), or
                (P, M) of P encoders.
            pairs: through plain layers.
            eavesdropper, time_alone: what the experiment found itself.
        """
        return Controls(
            no_selection=self._no_selection(pairs),
            rank_one=self.rank(),
            sign_kept=_sign_kept(ends[0], ends[-1], self.encoder.selection, self.encoder.depth),
            eavesdropper=eavesdropper,
            time_alone=time_alone,
        )

    def _no_selection(self, pairs: int) -> Control:
        """As many pairs through plain Gaussian layers, k of k kept."""
        plain = replace(self.encoder, candidates=self.encoder.width, rule="none")
        evidence, exact = replace(self, encoder=plain).rate(pairs), rapidity_rate(plain.selection)
        return Control(
            "Plain Gaussian layers (k = n) merge pairs too, by ½[ψ(k/2) − ψ((k−1)/2)] = "
            f"{exact:.3g} nats per layer (measured {evidence.measured:.3g} ± "
            f"{evidence.standard_error:.1g}): "
            f"{part_of_rate(exact, rapidity_rate(self.encoder.selection))}.",
            evidence,
        )

    def rank(self) -> Control:
        """How near to rank one the product of all layers is, over some independent encoders."""
        encoder, depth = self.encoder, self.encoder.depth
        operations = depth * encoder.width**2 * max(encoder.width, self.inputs)
        copies = int(min(64, COMPOSE_OPERATIONS // operations))
        if copies == 0:
            return self._rank_by_strangers()
        fitted = encoder.fit(self.normals(copies), generator=self.generator)
        share = rank_one(fitted.compose().matrix).share
        spread = float(share.std()) / math.sqrt(copies) if copies > 1 else 0.0
        name = "σ₁²/Σσ² of the composed layers"
        evidence = Measurement(name, float(share.mean()), None, spread, "share")
        several = f"the product of all {depth} layers" if depth > 1 else "one layer"
        return Control(_rank_words(evidence.measured, f"In {several} σ₁²/Σσ² is"), evidence)

    def _rank_by_strangers(self) -> Control:
        """Without the product: features that the encoder was not fitted to become parallel."""
        end = self.send(self.normals(4, 3)).directions[-1]
        parallel = rapidity(end[:, 1], end[:, 2]).tanh().square()
        evidence = mean_of("ρ² of two features that the encoder was not fitted to", parallel, None)
        what = "Two unrelated features, neither of them fitted, leave with a squared correlation of"
        return Control(_rank_words(evidence.measured, what), evidence)


def resolvable(phi: Tensor) -> Tensor:
    """|φ| up to what float64 vectors can show: beyond it rounding makes pairs parallel, φ = ∞."""
    return phi.abs().clamp_max(53 * math.log(2))


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
