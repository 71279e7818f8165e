"""Budgets with sizes by feature or sample, masks, bounds by feature: laws, an oracle, messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from worldline import commands
from worldline.attacks import (
    APGD,
    FGSM,
    PGD,
    Budget,
    Square,
    WorstCase,
    noise_twin,
    smallest_change,
    strong_attack,
)
from worldline.checks import accuracy_curve, check_evaluation
from worldline.commands.distant.words import made_words
from worldline.errors import BoundsError, ShapeError, UsageError
from worldline.runs.config import AUTO
from worldline.settings import silent

SAMPLES, FEATURES = 24, 6
UNITS = torch.tensor([1.0, 100.0, 0.01, 5.0, 1000.0, 1.0])
BOX = 0 * UNITS, UNITS
MASK = torch.tensor([True, True, False, True, True, False])
BUDGETS = {
    "feature": Budget(0.1 * UNITS, "linf", BOX),
    "feature l2": Budget(0.2 * UNITS, "l2", BOX),
    "feature and mask": Budget(0.1 * UNITS, "linf", BOX, MASK),
    "feature and mask l2": Budget(0.2 * UNITS, "l2", BOX, MASK),
    "sample": Budget(torch.linspace(0, 0.3, SAMPLES), "linf", (0.0, 1000.0)),
    "sample l2": Budget(torch.linspace(0, 3, SAMPLES)[:, None], "l2", (0.0, 1000.0), MASK),
    "sample and feature": Budget(
        torch.linspace(0.01, 0.2, SAMPLES)[:, None] * UNITS, "linf", BOX, torch.rand(24, 6) > 0.3
    ),
    "mask": Budget(0.1, "linf", (0.0, 1000.0), MASK),
    "mask l2": Budget(0.1, "l2", (0.0, 1000.0), MASK),
    "bounds": Budget(0.3, "linf", BOX),
    "zero": Budget(0.1 * UNITS * (UNITS != 5), "l2", BOX),
}
ATTACKS = {
    "pgd": PGD(epsilon=0.1, steps=5),
    "restarts": PGD(epsilon=0.1, steps=4, restarts=2, step_size=0.03),
    "fgsm": FGSM(epsilon=0.1),
    "apgd": APGD(epsilon=0.1, steps=12, restarts=2),
    "aimed": APGD(epsilon=0.1, steps=6, targets=2),
    "square": Square(epsilon=0.1, queries=30),
}


@pytest.fixture(scope="module")
def table() -> tuple[nn.Module, Tensor, Tensor]:
    """Features in units of their own, and a network that takes them to one."""
    torch.manual_seed(0)
    x = torch.rand(SAMPLES, FEATURES) * UNITS
    net = nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, 3))
    net[0].weight.data /= UNITS
    return net, x, net(x).argmax(1)


@pytest.fixture(params=BUDGETS.values(), ids=BUDGETS)
def budget(request) -> Budget:
    return request.param


def _fixed(budget: Budget, x: Tensor) -> Tensor:
    """Which entries may not change, from what was given alone."""
    sizes = budget.epsilon if isinstance(budget.epsilon, Tensor) else torch.tensor(budget.epsilon)
    sizes = sizes[:, None] if sizes.shape == (SAMPLES,) else sizes
    free = torch.ones_like(x, dtype=torch.bool) if budget.mask is None else budget.mask
    return ~(free & (sizes > 0)).expand(x.shape)


@pytest.mark.law
def test_projection_keeps_to_the_budget_and_is_idempotent(budget, table) -> None:
    _, x, _ = table
    generator = torch.Generator().manual_seed(0)
    around = budget.around(x)
    far = x + torch.randn(x.shape, generator=generator) * UNITS
    once = around.project(far.clone())
    assert bool(budget.within(x, once).all())
    if budget.norm == "linf" and isinstance(budget.epsilon, Tensor) and budget.mask is MASK:
        sizes = budget.epsilon * (1 + 1e-5) + 1e-6 * UNITS
        assert bool(((once - x).abs() <= sizes).all())
    rounding = 1e-5 * UNITS  # a second shrink of L2 by a length that rounds to above the radius
    assert bool(((around.project(once.clone()) - once).abs() <= rounding).all())
    drawn = around.random(generator)
    assert bool((budget.size(x, x + drawn) <= budget.radius * 1.001).all())  # x + δ rounds
    fixed = _fixed(budget, x)
    assert torch.equal(once[fixed], x[fixed])
    assert float(drawn[fixed].abs().sum()) == 0


@pytest.mark.law
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_attacks_keep_to_the_budget_and_leave_the_fixed_alone(attack, budget, table) -> None:
    net, x, y = table
    twin = attack.with_budget(budget)(net, x, y).x
    assert bool(budget.within(x, twin).all())
    fixed = _fixed(budget, x)
    assert torch.equal(twin[fixed], x[fixed])
    assert not torch.equal(twin, x)
    noise = noise_twin(
        x, twin, generator=torch.Generator().manual_seed(0), budget=budget, bounds=budget.outer
    )
    assert bool(budget.within(x, noise).all())
    assert torch.equal(noise[fixed], x[fixed])


@pytest.mark.law
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_units_do_not_matter(attack, norm, table) -> None:
    """By feature, an attack is the plain one in the coordinates x/s."""
    net, x, y = table
    size = 2.0**-3  # powers of two, so that scaling does not round
    units = torch.tensor([1.0, 128.0, 2.0**-7, 4.0, 1024.0, 1.0])
    plain = x / UNITS
    unit = nn.Sequential(_Times(UNITS), net)
    scaled = nn.Sequential(_Times(1 / units), unit)
    wide = attack.with_budget(Budget(units * size, norm, (0 * units, units)))
    if attack is ATTACKS["restarts"]:
        wide = replace(wide, step_size=0.25)
        attack = replace(attack, step_size=0.25 * size)
        attack = replace(attack, epsilon=size, norm=norm)
    else:
        attack = attack.with_budget(Budget(size, norm))
    expected = attack(unit, plain, y).x
    found = wide(scaled, plain * units, y).x / units
    # rounding of a projection by float32 lengths, and no step that goes another way
    assert torch.allclose(found, expected, atol=2e-5)


class _Times(nn.Module):
    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@pytest.mark.oracle
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_equal_sizes_are_the_plain_ball(attack, norm, table, digits, cnn) -> None:
    x, y = digits.x[:24], digits.y[:24]
    plain = Budget(0.1, norm)
    everywhere = replace(plain, mask=torch.ones(1, 1, 8, 8, dtype=torch.bool))
    found = [attack.with_budget(it)(cnn, x, y).x for it in (plain, everywhere)]
    assert torch.allclose(*found, atol=1e-6)


@pytest.mark.law
def test_sizes_by_sample_go_with_their_samples(table) -> None:
    net, x, y = table
    budget = BUDGETS["sample l2"]
    attack = PGD(epsilon=0.1, steps=4, random_start=False).with_budget(budget)
    whole = attack(net, x, y).x
    assert torch.equal(whole[0], x[0])  # its size is 0
    worst = WorstCase([attack, APGD(**budget.given, steps=5)], batch_size=7)(net, x, y)
    assert bool(budget.within(x, worst.x).all())
    curve = accuracy_curve(net, x, y, attack=attack)
    assert curve.points[0].epsilon == 0
    checks = check_evaluation(net, x, x, whole, y, attack=attack, **budget.given, thorough=True)
    assert {it.name: it.status for it in checks}["ball"] == "passed"


@pytest.mark.law
@pytest.mark.parametrize("name", ["feature and mask", "feature l2", "bounds"])
def test_the_ball_check_obeys_the_budget(name, table) -> None:
    net, x, y = table
    budget = BUDGETS[name]
    attack = strong_attack(**budget.given, classes=3, steps=5)
    twin = attack(net, x, y).x
    generator = torch.Generator().manual_seed(0)
    noise = noise_twin(x, twin, generator=generator, budget=budget, bounds=budget.outer)

    def ball(twins: Tensor):
        found = check_evaluation(net, x, noise, twins, y, attack=attack, **budget.given)
        assert all(it.status != "warned" or "raised" not in it.sentence for it in found)
        return next(it for it in found if it.name == "ball")

    assert ball(twin).status == "passed"
    away = twin.clone()
    away[3, 2] += 0.01  # of a feature whose unit is 0.01
    told = ball(away)
    assert told.status == "warned"
    assert "1 of 24 adversarial inputs leave the budget" in told.sentence


@pytest.mark.message
@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ((torch.tensor([0.1, -1.0]),), UsageError, "finite sizes ≥ 0"),
        ((-1.0,), UsageError, "finite number ≥ 0"),
        ((0.1, "l2", (1.0, 0.0)), BoundsError, "low < high; got (1.0, 0.0)"),
        ((0.1, "l2", (UNITS, 0 * UNITS)), BoundsError, "bounds by feature must be two tensors"),
        ((0.1, "linf", (0.0, 1.0), torch.tensor([0.5])), UsageError, "true (1) where an entry"),
        ((0.1, "linf", (0.0, 1.0), [True]), ShapeError, "got list"),
    ],
)
def test_impossible_budgets_are_refused(given, error, words) -> None:
    with pytest.raises(error) as told:
        Budget(*given)
    assert words in str(told.value)


@pytest.mark.message
def test_what_does_not_fit_the_inputs_is_refused(table) -> None:
    net, x, y = table
    with pytest.raises(ShapeError, match=r"epsilon must be a tensor that broadcasts to x, \(24, 6"):
        PGD(epsilon=torch.ones(5), bounds=(0.0, 1000.0))(net, x, y)
    with pytest.raises(ShapeError, match="may be by sample or by feature"):
        Budget(torch.ones(6)).on(x[:6])
    with pytest.raises(BoundsError, match="outside the bounds by feature, the first in sample 0"):
        PGD(epsilon=0.1, bounds=BOX)(net, x + torch.tensor([0, 150.0, 0, 0, 0, 0]), y)


MODULE = """
import torch
def build():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    net[0].weight.data /= torch.tensor([1.0, 100.0, 0.01, 5.0, 1000.0, 1.0])
    return net
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODULE)
    generator = np.random.default_rng(0)
    x = (generator.random((60, FEATURES)) * UNITS.numpy()).astype(np.float32)
    np.savez(tmp_path / "table.npz", x=x, y=np.arange(60) % 2)
    np.save(tmp_path / "sizes.npy", 0.1 * UNITS.numpy())
    np.save(tmp_path / "mask.npy", np.array([1, 1, 1, 0, 1, 1], dtype=bool))
    np.save(tmp_path / "short.npy", np.ones(4))
    return tmp_path


TABLE = {"model": "net.py:build", "data": "table.npz", "bounds": AUTO}


@pytest.mark.end_to_end
@pytest.mark.parametrize("eps", ["0.1sd", "sizes.npy"])
def test_a_table_in_its_own_units(eps, place) -> None:
    config = commands.config_of("explore")(**TABLE, eps=eps, immutable="0,1", mask="mask.npy")
    result = commands.load("explore")(config)
    twins = result.tensors("twins.safetensors") if hasattr(result, "tensors") else None
    record = result.record
    assert (record.epsilon, record.epsilon_text) == (1.0, eps)
    assert any("3 of 6 entries of an input may not change" in it for it in record.notes)
    assert any("bounds were taken from the data" in it for it in record.notes)
    statuses = {it.name: it.status for it in record.checks}
    assert (statuses["ball"], statuses["epsilon"]) == ("passed", "passed")
    assert statuses["unbounded"] == "not applicable"
    assert 'bounds = "auto"' in config.to_toml()
    (place / "again.toml").write_text(config.to_toml())
    assert commands.config_of("explore").read("again.toml") == config
    assert twins is None or torch.equal(twins["clean"][:, 0], twins["adversarial"][:, 0])


@pytest.mark.end_to_end
def test_columns_are_named_by_the_table(place) -> None:
    names = ["age", "height", "width", "depth", "weight", "dose"]
    x = np.load(place / "table.npz")["x"]
    rows = [",".join([*names, "label"]), *(",".join(map(str, [*it, 0])) for it in x[:30])]
    rows += [",".join(map(str, [*it, 1])) for it in x[30:]]
    (place / "table.csv").write_text("\n".join(rows))
    given = {**TABLE, "data": "table.csv", "immutable": "age,weight"}
    opened = commands.load("explore").prepare(commands.config_of("explore")(**given), silent).opened
    assert opened.data.feature_names == tuple(names)
    assert opened.budget.mask.tolist() == [[False, True, True, True, False, True]]


@pytest.mark.end_to_end
def test_doctor_takes_the_same_budget(place) -> None:
    given = {"eps": "0.2sd", "immutable": "2", "thorough": True, "attack_selftest": True}
    config = commands.config_of("doctor")(**TABLE, **given, steps=5)
    record = commands.load("doctor")(config).record
    assert record.selftest is None
    assert len(record.smallest) == 4
    assert any("in units of the sizes by feature" in it for it in record.notes)
    assert {it.name: it.status for it in record.checks}["ball"] == "passed"


@pytest.mark.end_to_end
@pytest.mark.parametrize("eps", ["0.3sd", ""])
def test_a_made_pair_keeps_to_the_same_budget(eps: str, place) -> None:
    given = {"make": (0, 1), "eps": eps, "immutable": "0,4", "nulls": 0, "steps": 40}
    config = commands.config_of("distant")(**TABLE, **given)
    result = commands.load("distant")(config)
    path = result.folder.read_tensors("inputs.safetensors")["path"]
    x = np.load(place / "table.npz")["x"]
    sizes = 0.3 * x.std(0) if eps else np.ptp(x, axis=0)
    parts = (path - path[0]).abs().amax(0) / torch.from_numpy(sizes)
    assert torch.equal(parts > 0, torch.tensor([False, True, True, True, False, True]))
    assert bool((parts <= 1.1).all())
    assert bool((parts[[1, 2, 3, 5]] > 0.1).all()), parts
    made = result.record.made
    assert 0 < made.change <= 1.0001
    assert (made.epsilon, made.epsilon_text) == ((1.0, eps) if eps else (None, None))
    assert any("parts of the whole range" in it for it in result.record.notes) == (not eps)
    apart = replace(made, input_closer=0.5)
    assert ("of the sizes by feature" in made_words(result.record, apart)) == bool(eps)


@pytest.mark.oracle
@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_the_smallest_change_in_units_of_the_budget(norm: str) -> None:
    """Of a linear model: the distance to the boundary, in the dual norm of the scaled weights."""
    weight, sizes = torch.tensor([1.0, 0.02, 50.0]), torch.tensor([0.1, 10.0, 0.001])
    free = torch.tensor([True, True, False])
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([weight, -weight]))
        model.bias.zero_()
    x = torch.tensor([[0.2, 2.0, 0.001], [0.05, 9.0, 0.004]])
    budget = Budget(sizes, "linf", (torch.full((3,), -99.0), torch.full((3,), 99.0)), free)
    found = smallest_change(model, x, torch.zeros(2, dtype=torch.long), norm=norm, budget=budget)
    slope = (weight * sizes)[:2]
    dual = {"linf": slope.sum(), "l2": slope.norm(), "l1": slope.max(), "l0": None}[norm]
    expected = torch.ones(2) if dual is None else x @ weight / dual
    torch.testing.assert_close(found.size, expected, rtol=0.02, atol=0)
    assert torch.equal(found.x[:, 2], x[:, 2])
    assert bool((model(found.x).argmax(1) == 1).all())


@pytest.mark.message
def test_the_smallest_change_has_one_mask_and_sizes_by_feature() -> None:
    x, y, model = torch.rand(2, 3), torch.zeros(2, dtype=torch.long), nn.Linear(3, 2)
    with pytest.raises(UsageError, match="give mask in it"):
        smallest_change(model, x, y, mask=MASK[:3], budget=Budget(0.1))
    with pytest.raises(UsageError, match="needs sizes by feature"):
        smallest_change(model, x, y, budget=Budget(torch.ones(2, 1)))


@pytest.mark.message
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"eps": "short.npy"}, "'short.npy' has shape (4,); expected that of one input, (6,)"),
        ({"eps": "net.npy"}, "There is no array of --eps"),
        ({"mask": "sizes.npy"}, "--mask must hold true"),
        ({"immutable": "0,17"}, "'17' is no column; they are 0 to 5"),
        ({"immutable": "age"}, "'age' is no column"),
        ({"immutable": "0,1,2,3,4,5"}, "leave nothing that may change"),
        ({"data": "digits", "model": "linear", "eps": "0.1sd"}, "--eps in sd is for tables"),
        ({"data": "digits", "model": "linear", "immutable": "3"}, "Use --mask FILE.npy"),
    ],
)
def test_budgets_that_do_not_fit_are_refused_before_work(given, words, place) -> None:
    config = commands.config_of("explore")(**{**TABLE, **given})
    with pytest.raises(UsageError) as told:
        commands.load("explore").prepare(config, silent)
    assert words in str(told.value)


@pytest.mark.message
@pytest.mark.parametrize("eps", ["0sd", "sd", "-1sd", "x"])
def test_sizes_that_are_none_are_refused(eps) -> None:
    with pytest.raises(UsageError, match="--eps must be"):
        commands.config_of("explore")(eps=eps)
