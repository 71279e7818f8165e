"""Prediction: what it must know, what it must not depend on, and what it leaves alone."""

from __future__ import annotations

import weakref
from itertools import combinations, permutations

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.compare import Loader
from worldline.compare.predicting import LINKS
from worldline.compare.probes import make_probes

ROUNDED = 0.004
"""What bfloat16 may change in a rate: two digits and a half of each gradient are kept."""
HALVES = torch.tensor([[True] * 3 + [False] * 3] * 3 + [[False] * 3 + [True] * 3] * 3)
OFF = ~torch.eye(6, dtype=torch.bool)


def dark(model: nn.Module):
    """The same model, with no gradient."""
    return lambda x: model(x).detach()


@pytest.mark.law
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("seen", ["white", "grey", "black"])
def test_models_that_read_the_same_features_share_blind_spots(models, data, norm, seen) -> None:
    hidden = {"white": (), "grey": (0, 2, 4), "black": range(6)}[seen]
    shown = {
        name: dark(model) if place in hidden else model
        for place, (name, model) in enumerate(models.items())
    }
    found = wl.compare.predict(shown, data[0], norm=norm, probes=40)
    assert ("white" in found.sights, "black" in found.sights) == (seen != "black", seen != "white")
    for target in range(6):
        same, other = HALVES[:, target] & OFF[:, target], ~HALVES[:, target]
        assert float(found.rate[same, target].min()) > float(found.rate[other, target].max())
        assert float(found.similarity[same, target].min()) > float(
            found.similarity[other, target].max()
        )
    assert (found.interval[..., 0] <= found.rate).all()
    assert (found.rate <= found.interval[..., 1]).all()
    torch.testing.assert_close(found.similarity, found.similarity.T)
    torch.testing.assert_close(
        found.similarity.diagonal(), torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-5
    )


@pytest.mark.law
def test_the_same_call_gives_the_same_numbers_whatever_the_batches(models, data) -> None:
    seen = {**models, "box": dark(models["first-0"])}
    first = wl.compare.predict(seen, data[0], settings=wl.Settings(seed=3))
    torch.manual_seed(99)
    again = wl.compare.predict(seen, data[0], settings=wl.Settings(seed=3, batch_size=17))
    torch.testing.assert_close(again.rate, first.rate, rtol=0, atol=1e-4)  # bfloat16 rounds
    assert torch.equal(again.rows, first.rows)
    other = wl.compare.predict(seen, data[0], settings=wl.Settings(seed=4))
    assert not torch.equal(other.rate, first.rate)


@pytest.mark.law
def test_offsets_of_the_logits_do_not_matter_and_probabilities_stand_for_logits(
    models, data
) -> None:
    plain = wl.compare.predict(models, data[0])
    name = "first-1"
    shifted = {**models, name: lambda x: models[name](x) + 5 * x.sum(1, keepdim=True)}
    torch.testing.assert_close(
        wl.compare.predict(shifted, data[0]).rate, plain.rate, rtol=0, atol=1e-3
    )
    soft = wl.compare.predict({**models, name: lambda x: models[name](x).softmax(1)}, data[0])
    torch.testing.assert_close(soft.rate, plain.rate, rtol=0, atol=1e-3)
    assert soft.sights == ("white",) * 6
    assert soft.kinds[1] == "probabilities"
    assert soft.notes == ("first-1: return probabilities; their logarithms stand for the logits.",)
    assert plain.notes == ()


@pytest.mark.law
def test_labels_are_a_weaker_variant_that_still_tells(models, data) -> None:
    names = list(models)
    hard = {**models, names[0]: lambda x: models[names[0]](x).argmax(1)}
    found = wl.compare.predict(dict(reversed(hard.items())), data[0], probes=64, size=0.2)
    place = {name: row for row, name in enumerate(found.names)}
    assert found.kinds[place[names[0]]] == "labels"
    assert "no gradient comes back. As targets they answered to the others' steps" in found.notes[0]
    assert "a weaker variant" in found.notes[1]
    for table in (found.similarity[place[names[0]]], found.rate[:, place[names[0]]]):
        same = [float(table[place[name]]) for name in names[1:3]]
        assert min(same) > max(float(table[place[name]]) for name in names[3:])
    alone = {name: (lambda x, model=model: model(x).argmax(1)) for name, model in models.items()}
    assert wl.compare.predict(alone, data[0], classes=3).kinds == ("labels",) * 6


@pytest.mark.law
def test_loaders_come_one_at_a_time_and_are_dropped(data) -> None:
    alive: list[weakref.ref[nn.Module]] = []
    most = []

    def load() -> nn.Module:
        most.append(sum(ref() is not None for ref in alive))
        model = nn.Linear(8, 3)
        alive.append(weakref.ref(model))
        return model

    seen: list[tuple[str, int, int]] = []
    entries = {str(number): Loader(load) for number in range(4)}
    settings = wl.Settings(progress=lambda *it: seen.append(it))
    wl.compare.predict(entries, data[0], scouts=2, settings=settings)
    assert len(most) == 6  # two scouts, four looked at
    looks = [("Looking at models", number, 4) for number in range(1, 5)]
    assert seen == [("Scouting", 1, 2), ("Scouting", 2, 2), *looks]
    wl.compare.predict(entries, data[0], data[1], gradients=False)
    assert len(most) == 14  # no scout; looked at and probed
    assert max(most) == 0


@pytest.mark.law
def test_models_are_left_as_they_were_and_probes_stay_inside(data) -> None:
    lowest, highest = [], []

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.last = nn.BatchNorm1d(8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            lowest.append(float(x.min()))
            highest.append(float(x.max()))
            return self.last(self.norm(x))

    models = {"a": Watch().train(), "b": Watch().train()}
    before = {
        name: {key: value.clone() for key, value in model.state_dict().items()}
        for name, model in models.items()
    }
    state = torch.get_rng_state()
    wl.compare.predict({**models, "box": dark(models["a"])}, data[0], size=0.5)
    assert min(lowest) == 0
    assert max(highest) == 1
    assert torch.equal(torch.get_rng_state(), state)
    for name, model in models.items():
        assert model.training
        assert all(
            torch.equal(value, before[name][key]) for key, value in model.state_dict().items()
        )


@pytest.mark.law
def test_a_model_that_fails_midway_is_named_and_the_others_are_kept(models, data) -> None:
    calls = []

    def flaky(x: Tensor) -> Tensor:
        calls.append(len(x))
        raise RuntimeError("out of memory")

    found = wl.compare.predict({**models, "flaky": flaky}, data[0])
    assert found.names == tuple(models)
    assert len(calls) == 1  # as a scout; not asked again
    [failure] = found.failures
    assert failure.model == "flaky"
    assert "refused inputs" in failure.reason
    assert "RuntimeError: out of memory" in failure.reason


@pytest.mark.law
def test_probes_are_opposite_pairs_inside_the_bounds() -> None:
    x = torch.full((3, 1, 4, 4), 0.5)
    found = make_probes(x, pairs=2, size=0.2, bounds=(0, 1), seed=0).x.view(3, 2, 2, 16)
    torch.testing.assert_close(found.sum(2), torch.ones(3, 2, 16))
    torch.testing.assert_close((found - 0.5).abs(), torch.full((3, 2, 2, 16), 0.2))
    assert not torch.equal(found[0, 0], found[0, 1])
    wide = make_probes(x, pairs=2, size=0.9, bounds=(0, 1), seed=0).x
    assert (float(wide.min()), float(wide.max())) == (0, 1)


@pytest.mark.oracle
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_reduction_equals_its_formula_sample_by_sample(norm) -> None:
    torch.manual_seed(0)
    x = (2 * torch.rand(30, 8) - 0.5).clamp(0, 1)  # half of the entries lie at a bound
    y, epsilon = torch.arange(30) % 3, 0.2
    nets = [nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)) for _ in range(3)]
    entries = {"a": nets[0], "b": nets[1], "box": dark(nets[2])}
    found = wl.compare.predict(entries, x, y, epsilon=epsilon, norm=norm)

    def slope(net: nn.Module, row: int, soft: bool) -> Tensor:
        point = x[row].clone().requires_grad_()
        z = net(point)
        rivals = torch.stack([z[k] for k in range(3) if k != y[row]])
        ((rivals.exp().sum().log() if soft else rivals.max()) - z[y[row]]).backward()
        return point.grad

    def margin(net: nn.Module, point: Tensor, row: int) -> float:
        z = net(point).tolist()
        return z[y[row]] - max(z[k] for k in range(3) if k != y[row])

    def step(net: nn.Module, row: int) -> Tensor:
        gradient = slope(net, row, soft=True)
        for k in range(8):
            if (x[row, k] == 0 and gradient[k] < 0) or (x[row, k] == 1 and gradient[k] > 0):
                gradient[k] = 0
        unit = gradient.sign() if norm == "linf" else gradient / gradient.norm()
        return (x[row] + epsilon * unit).clamp(0, 1) - x[row]

    for source in range(2):
        for target in range(3):
            link = LINKS["white" if target < 2 else "grey"]
            here = [margin(nets[target], x[row], row) for row in range(30)]
            unit = link.spread * sorted(abs(it) for it in here)[14]
            lost = []
            for row in range(30):
                move = step(nets[source], row)
                if target < 2:
                    shift = float(slope(nets[target], row, soft=False) @ move)
                else:
                    shift = here[row] - margin(nets[target], x[row] + move, row)
                logits = torch.tensor([link.factor * shift - here[row], -here[row]]) / unit
                if here[row] > 0:
                    lost.append(float(logits.sigmoid() @ torch.tensor([1.0, -1.0])))
            expected = 1 - (1 - sum(lost) / len(lost)) ** link.chances
            assert float(found.rate[source, target]) == pytest.approx(expected, abs=ROUNDED)


@pytest.mark.law
def test_surrogates_and_ensembles(models, data) -> None:
    names = list(models)
    ranked = wl.compare.surrogate(
        models[names[0]], {name: models[name] for name in names[1:]}, data[0]
    )
    assert {it.name for it in ranked[:2]} == set(names[1:3])
    assert ranked[0].rate > ranked[-1].rate
    assert ranked[0].interval[0] <= ranked[0].rate <= ranked[0].interval[1]
    found = wl.compare.predict(models, data[0])
    pair = wl.compare.diverse(found, 2)
    assert {name.split("-")[0] for name in pair.models} == {"first", "second"}
    assert pair.exhaustive
    for size in (2, 3):
        chosen = wl.compare.diverse(found, size)
        rates = {
            members: sum(float(found.rate[pair]) for pair in permutations(members, 2))
            / (size * (size - 1))
            for members in combinations(range(6), size)
        }
        best = min(rates, key=rates.__getitem__)
        assert chosen.models == tuple(names[place] for place in best)
        assert chosen.shared == pytest.approx(rates[best])


@pytest.mark.law
def test_exchange_finds_what_trying_all_finds(models, data, monkeypatch) -> None:
    found = wl.compare.predict(models, data[0])
    best = wl.compare.diverse(found, 3)
    monkeypatch.setattr("worldline.compare.using.EXHAUSTIVE", 0)
    greedy = wl.compare.diverse(found, 3)
    assert not greedy.exhaustive
    assert greedy.shared <= best.shared + 0.05


@pytest.mark.law
def test_of_a_target_that_has_nothing_right_nothing_is_expected() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(30, 8), torch.zeros(30, dtype=torch.int64)
    a, b, wrong = (nn.Linear(8, 3) for _ in range(3))
    for model, place in ((a, 0), (b, 0), (wrong, 1)):
        model.bias.data[place] += 9
    found = wl.compare.predict({"a": a, "b": b, "wrong": wrong}, x, y)
    assert found.rate[:, 2].isnan().all()
    assert found.rate[:, :2].isfinite().all()
    assert wl.compare.rank_surrogates(found, "wrong") == ()
