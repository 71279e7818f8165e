"""Fragility from two forward passes: laws, a planted truth, its calibration, and its words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import worldline as wl
from worldline.errors import ShapeError, UsageError
from worldline.explain.measures.surrogate import aim

PROBES = ("noise", "aimed")


class Counting(nn.Module):
    """Tells how many rows it saw; to the outside, as its own attributes are put back."""

    def __init__(self, model: nn.Module, tell: Callable[[int], None]) -> None:
        super().__init__()
        self.model, self.tell = model, tell

    def forward(self, x: Tensor) -> Tensor:
        self.tell(len(x))
        return self.model(x)


class Changed(nn.Module):
    def __init__(self, model: nn.Module, scale: float, shift: float) -> None:
        super().__init__()
        self.model, self.scale, self.shift = model, scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.model(x) + self.shift


@pytest.mark.law
@pytest.mark.parametrize("probe", PROBES)
def test_two_forward_passes_a_sample_no_gradient_and_nothing_else(
    probe, mlp: nn.Module, digits
) -> None:
    rows: list[int] = []
    found = wl.explain.fragility(Counting(mlp, rows.append), digits.x[:100], probe=probe)
    assert sum(rows) == 200
    assert len(found.radius["l2"]) == found.changed.count == 100
    assert not found.radius["l2"].requires_grad


@pytest.mark.oracle
def test_the_linearised_margin_of_a_linear_model_is_its_distance() -> None:
    model = nn.Linear(2, 2, bias=False)
    model.weight.data.copy_(torch.eye(2))
    x = torch.tensor([[0.6, 0.4], [0.1, 0.5]])
    found = wl.explain.fragility(model, x, gradients=True, resamples=2)
    torch.testing.assert_close(found.linearised["linf"], torch.tensor([0.1, 0.2]).double())
    torch.testing.assert_close(found.linearised["l2"], torch.tensor([0.02, 0.08]).double().sqrt())
    dark = wl.explain.fragility(lambda x: model(x).detach(), x, gradients=True, resamples=2)
    assert dark.linearised is None
    assert wl.explain.fragility(model, x, resamples=2).linearised is None


@pytest.mark.law
@pytest.mark.parametrize("probe", PROBES)
def test_a_shift_and_a_scale_of_all_logits_change_nothing(probe, mlp: nn.Module, digits) -> None:
    x = digits.x[:100]
    one = wl.explain.fragility(mlp, x, probe=probe)
    two = wl.explain.fragility(Changed(mlp, 4.0, 16.0), x, probe=probe)
    assert one.changed == two.changed
    for norm in (
        "l2",
        "linf",
    ):  # float32 logits, differences of which keep about five digits beside the shift
        torch.testing.assert_close(one.radius[norm], two.radius[norm], rtol=2e-3, atol=1e-4)
    assert one.tail == pytest.approx(two.tail, rel=1e-3)


@pytest.mark.law
@pytest.mark.parametrize("probe", PROBES)
def test_the_hardened_model_is_less_fragile(probe, digits) -> None:
    plain, hardened = (
        wl.explain.fragility(wl.zoo.load(name), digits.x, probe=probe)
        for name in ("mlp", "mlp-adv")
    )
    assert hardened.changed.interval[1] < plain.changed.value
    assert hardened.changed.interval[0] <= hardened.changed.value <= hardened.changed.interval[1]
    if probe == "noise":
        assert hardened.tail > plain.tail
        assert plain.tail_interval[0] <= plain.tail <= plain.tail_interval[1]


@pytest.mark.oracle
def test_radii_of_a_linear_model_are_its_distances() -> None:
    """Two classes and a hyperplane: the aimed radius is the distance along its step, never less."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(300, 6, generator=generator)
    normal = torch.tensor([3.0, -2.0, 1.0, 0.5, -1.0, 2.0])
    model = nn.Linear(6, 2, bias=False)
    model.weight.data = torch.stack((normal, torch.zeros(6)))
    model.bias = nn.Parameter(torch.stack((-(x @ normal).mean(), torch.tensor(0.0))))
    distance = (x @ normal - (x @ normal).mean()).abs() / normal.norm()
    found = wl.explain.fragility(model, x, probe="aimed", sigma=0.02)
    assert spearmanr(found.radius["l2"], distance)[0] > 0.97
    steep = (
        found.radius["l2"] >= distance.double() * 0.9
    )  # the floor of a tenth of the mean drop takes off up to a tenth
    assert steep.all()
    noise = wl.explain.fragility(model, x, sigma=0.02)
    assert spearmanr(noise.radius["l2"], distance)[0] > 0.999
    assert float((noise.radius["l2"] / distance).median()) == pytest.approx(
        1, abs=0.15
    )  # slope from 300 draws


@pytest.mark.oracle
def test_the_aim_is_the_gradient_of_the_kernel_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 5, generator=generator, dtype=torch.float64)
    logits = torch.stack((x.sum(1) + x[:, 0] ** 2, 4 * x[:, 1]), 1)
    direction = aim(x, logits)
    squared = torch.cdist(x, x) ** 2
    scale = squared[~torch.eye(40, dtype=torch.bool)].median()
    answers = logits - logits.mean(1, keepdim=True)
    weights = torch.linalg.solve(
        torch.exp(-squared / scale) + 0.1 * torch.eye(40), answers - answers.mean(0)
    )
    point = x.clone().requires_grad_(True)
    fitted = torch.exp(-(torch.cdist(point, x) ** 2) / scale) @ weights
    label = logits.argmax(1, keepdim=True)
    loss = fitted.gather(1, 1 - label) - fitted.gather(1, label)
    gradient = torch.autograd.grad(loss.sum(), point)[0]
    torch.testing.assert_close(
        direction, nn.functional.normalize(gradient, dim=1), rtol=1e-6, atol=1e-8
    )


@pytest.mark.oracle
def test_intervals_against_a_plain_bootstrap(mlp: nn.Module, digits) -> None:
    found = wl.explain.fragility(mlp, digits.x, resamples=4000)
    delta = 0.25 * torch.randn(digits.x.shape, generator=torch.Generator().manual_seed(0))
    plus, minus = (wl.attacks.predict(mlp, digits.x + sign * delta) for sign in (1, -1))
    changed = (plus.argmax(1) != minus.argmax(1)).numpy()
    assert found.changed.value == pytest.approx(changed.mean())
    rows = np.random.default_rng(5).integers(0, len(changed), (4000, len(changed)))
    expected = np.quantile(changed[rows].mean(1), (0.025, 0.975))
    np.testing.assert_allclose(
        found.changed.interval, expected, atol=0.006
    )  # of 4,000 resamples: about 0.002 each
    origin = ((plus + minus) / 2).double().mean(0)
    phi = wl.rapidity(plus.double() - origin, minus.double() - origin).sort().values
    assert found.tail == pytest.approx(float(phi[59]))
    tails = np.sort(phi.numpy()[rows], axis=1)[:, 59]
    np.testing.assert_allclose(
        found.tail_interval, np.quantile(tails, (0.025, 0.975)), atol=0.05
    )  # neighbouring order statistics


@pytest.mark.law
def test_calibration_finds_a_planted_line_and_predicts_with_an_interval(digits) -> None:
    found = [
        wl.explain.fragility(wl.zoo.load(name), digits.x[:200])
        for name in ("linear", "mlp", "mlp-adv", "cnn")
    ]
    kept = np.array([1 - it.changed.value for it in found])
    pulled = np.log((kept + 0.01) / (1 - kept + 0.01))
    accuracy = (1.02 / (1 + np.exp(-(2 * pulled - 1))) - 0.01).tolist()
    learnt = wl.explain.calibrate(found, accuracy, 0.1)
    assert (learnt.slope, learnt.intercept) == (pytest.approx(2), pytest.approx(-1))
    assert learnt.spread == pytest.approx(0, abs=1e-9)
    for it, value in zip(found, accuracy, strict=True):
        said = learnt.predict(it)
        assert said.value == pytest.approx(value)
        assert said.interval[0] <= said.value <= said.interval[1]
    apart = [value + sign for sign in (0.15, 0.0, -0.15) for value in accuracy]
    noisy = wl.explain.calibrate(found * 3, np.clip(apart, 0, 1).tolist(), 0.1)
    assert noisy.spread > 0.05
    middle = min(
        found, key=lambda it: abs(noisy.predict(it).value - 0.5)
    )  # far from the ends, where intervals are cut
    wide, still = noisy.predict(middle), learnt.predict(middle)
    within = still.interval[1] - still.interval[0]
    assert wide.interval[1] - wide.interval[0] > max(
        within, 2.5 * noisy.spread
    )  # 2 × 1.96 of it, where nothing is cut


@pytest.mark.message
def test_it_says_that_it_is_no_bound_and_when_outputs_saturate(mlp: nn.Module, digits) -> None:
    x = digits.x[:60]
    assert wl.explain.fragility(mlp, x).notes[0] == wl.explain.NOT_A_BOUND
    assert "not a bound" in wl.explain.NOT_A_BOUND
    hard = nn.Sequential(mlp, nn.Threshold(1e9, 0.0))  # every output is zero
    assert any(
        "outputs did not move at all: they saturate" in note
        for note in wl.explain.fragility(hard, x).notes
    )
    assert any("predicted as class 0" in note for note in wl.explain.fragility(hard, x).notes)
    assert any(
        "pass a larger sigma" in note for note in wl.explain.fragility(mlp, x, sigma=1e-4).notes
    )
    loud = wl.explain.fragility(
        Changed(nn.Sequential(nn.Flatten(), nn.Linear(64, 500)), 1, 0), x, sigma=1e4
    )
    assert any("pass a smaller sigma" in note for note in loud.notes)


@pytest.mark.message
def test_what_does_not_fit_is_refused(mlp: nn.Module, digits) -> None:
    x = digits.x[:40]
    with pytest.raises(UsageError, match="Unknown probe 'loud'; choose one of noise, aimed"):
        wl.explain.fragility(mlp, x, probe="loud")
    with pytest.raises(ShapeError, match=r"at least 20; got 19. Use probe='noise'"):
        wl.explain.fragility(mlp, x[:19], probe="aimed")
    with pytest.raises(UsageError, match="sigma must be a positive finite number"):
        wl.explain.fragility(mlp, x, sigma=-1)
    found = wl.explain.fragility(mlp, x)
    with pytest.raises(UsageError, match=r"at least four attacked models.*got 1 and 1"):
        wl.explain.calibrate([found], [0.5], 0.1)
    aimed = wl.explain.fragility(mlp, x, probe="aimed")
    with pytest.raises(UsageError, match="one probe at one sigma"):
        wl.explain.calibrate([found, found, found, aimed], [0.5] * 4, 0.1)
    learnt = wl.explain.calibrate([found] * 4, [0.5] * 4, 0.1)
    with pytest.raises(
        UsageError, match=r"for probe 'noise' at sigma = 0.25; the fragility is of 'aimed'"
    ):
        learnt.predict(aimed)


class Poisoned(nn.Module):
    """The outputs of bright samples are NaN."""

    def __init__(self, model: nn.Module, limit: float) -> None:
        super().__init__()
        self.model, self.limit = model, limit

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.flatten(1)[:, :1] > self.limit, torch.nan, self.model(x))


@pytest.mark.law
@pytest.mark.parametrize("probe", PROBES)
def test_an_output_that_is_not_finite_is_counted_and_poisons_nothing(
    probe, mlp: nn.Module, digits
) -> None:
    """Fault 5: one NaN made every radius and rapidity NaN, and counted as a changed answer."""
    x = digits.x[:61].clone()
    x[:, 0, 0, 0] = 0
    x[9, 0, 0, 0] = 5
    settings = wl.Settings(bounds=(0, 5))
    found = wl.explain.fragility(Poisoned(mlp, 4), x, probe=probe, sigma=0.1, settings=settings)
    known = torch.arange(61) != 9
    assert (found.changed.count, found.changed.undefined) == (60, 1)
    assert (found.rapidity.count, found.rapidity.undefined) == (60, 1)
    for radius in found.radius.values():
        assert radius[9].isnan()
        assert torch.isfinite(radius[known]).all()
    assert int(found.prediction[9]) == -1
    assert 9 not in found.most_fragile
    assert "1 of 61 samples have an output that is not finite" in found.notes[1]


@pytest.mark.message
def test_with_no_finite_output_there_is_no_number_and_a_note(mlp: nn.Module, digits) -> None:
    for probe in PROBES:
        found = wl.explain.fragility(Poisoned(mlp, -1), digits.x[:30], probe=probe)
        assert (found.changed.value, found.changed.undefined) == (None, 30)
        assert (found.tail, found.most_fragile) == (None, ())
        assert "30 of 30 samples" in found.notes[1]


@pytest.mark.message
def test_a_calibration_remembers_the_size_of_its_noise(mlp: nn.Module, digits) -> None:
    """Fault 6: a line learnt at σ = 0.25 answered for σ = 0.5."""
    found = wl.explain.fragility(mlp, digits.x[:60])
    learnt = wl.explain.calibrate([found] * 4, [0.5] * 4, 0.1)
    assert learnt.sigma == 0.25
    with pytest.raises(
        UsageError, match=r"at sigma = 0.25; the fragility is of 'noise' at sigma = 0.5"
    ):
        learnt.predict(wl.explain.fragility(mlp, digits.x[:60], sigma=0.5))


@pytest.mark.law
def test_the_summary_has_no_tensors(mlp: nn.Module, digits) -> None:
    found = wl.explain.fragility(mlp, digits.x[:60])
    assert type(found.summary) is wl.explain.Fragility
    assert found.summary.changed == found.changed
    assert not any(isinstance(it, Tensor) for it in vars(found.summary).values())
