"""Prediction: what it must know, what it must not depend on, and what it leaves alone."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.compare import Loader
from worldline.compare.probes import choose_samples, make_probes
from worldline.compare.responses import loss, predicted_flips, respond

HALVES = torch.tensor([[True] * 3 + [False] * 3] * 3 + [[False] * 3 + [True] * 3] * 3)
OFF = ~torch.eye(6, dtype=torch.bool)


@pytest.mark.law
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_models_that_read_the_same_features_share_blind_spots(models, data, norm) -> None:
    found = wl.compare.predict(models, data[0], norm=norm)
    for target in range(6):
        same, other = HALVES[:, target] & OFF[:, target], ~HALVES[:, target]
        assert float(found.score[same, target].min()) > float(found.score[other, target].max())
        assert float(found.similarity[same, target].min()) > float(
            found.similarity[other, target].max()
        )
    assert (found.interval[..., 0] <= found.score).all()
    assert (found.score <= found.interval[..., 1]).all()
    torch.testing.assert_close(found.similarity, found.similarity.T)
    torch.testing.assert_close(
        found.similarity.diagonal(), torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-5
    )


@pytest.mark.law
def test_the_same_call_gives_the_same_numbers_whatever_the_batches(models, data) -> None:
    first = wl.compare.predict(models, data[0], settings=wl.Settings(seed=3))
    torch.manual_seed(99)
    again = wl.compare.predict(models, data[0], settings=wl.Settings(seed=3, batch_size=17))
    torch.testing.assert_close(again.score, first.score, rtol=0, atol=1e-6)
    assert torch.equal(again.rows, first.rows)
    other = wl.compare.predict(models, data[0], settings=wl.Settings(seed=4))
    assert not torch.equal(other.score, first.score)


@pytest.mark.law
def test_offsets_of_the_logits_do_not_matter_and_probabilities_stand_for_logits(
    models, data
) -> None:
    plain = wl.compare.predict(models, data[0])
    name = "first-1"
    shifted = {**models, name: lambda x: models[name](x) + 5 * x.sum(1, keepdim=True)}
    torch.testing.assert_close(
        wl.compare.predict(shifted, data[0]).score, plain.score, rtol=0, atol=1e-4
    )
    soft = wl.compare.predict({**models, name: lambda x: models[name](x).softmax(1)}, data[0])
    torch.testing.assert_close(soft.score, plain.score, rtol=0, atol=1e-4)
    assert soft.kinds[1] == "probabilities"
    assert soft.notes == ("first-1: return probabilities; their logarithms stand for the logits.",)
    assert plain.notes == ()


@pytest.mark.law
def test_labels_are_a_weaker_variant_that_still_tells(models, data) -> None:
    names = list(models)
    hard = {**models, names[0]: lambda x: models[names[0]](x).argmax(1)}
    found = wl.compare.predict(dict(reversed(hard.items())), data[0], samples=40, share=1.0)
    place = {name: row for row, name in enumerate(found.names)}
    assert found.kinds[place[names[0]]] == "labels"
    assert "a weaker variant" in found.notes[0]
    same = [float(found.similarity[place[names[0]], place[name]]) for name in names[1:3]]
    other = [float(found.similarity[place[names[0]], place[name]]) for name in names[3:]]
    assert min(same) > max(other)
    alone = {name: (lambda x, model=model: model(x).argmax(1)) for name, model in models.items()}
    assert wl.compare.predict(alone, data[0], classes=3).kinds == ("labels",) * 6


@pytest.mark.law
def test_loaders_come_one_at_a_time_and_are_dropped(data) -> None:
    alive: list[weakref.ref[nn.Module]] = []
    most = []

    def load() -> nn.Module:
        gc.collect()
        most.append(sum(ref() is not None for ref in alive))
        model = nn.Linear(8, 3)
        alive.append(weakref.ref(model))
        return model

    seen: list[tuple[str, int, int]] = []
    entries = {str(number): Loader(load) for number in range(4)}
    wl.compare.predict(
        entries, data[0], scouts=2, settings=wl.Settings(progress=lambda *it: seen.append(it))
    )
    assert len(most) == 6  # two scouts, four probed
    assert max(most) == 0
    assert seen == [("Scouting", 1, 2), ("Scouting", 2, 2)] + [
        ("Probing", number, 4) for number in range(1, 5)
    ]


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
    wl.compare.predict(models, data[0], size=0.5)
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
    assert len(calls) == 1
    [failure] = found.failures
    assert failure.model == "flaky"
    assert "refused inputs" in failure.reason
    assert "RuntimeError: out of memory" in failure.reason


@pytest.mark.law
def test_probes_are_orthogonal_signs_and_samples_are_the_ambiguous_ones() -> None:
    x = torch.full((10, 1, 4, 4), 0.5)
    probes = make_probes(
        x,
        torch.zeros(3).long(),
        torch.tensor([1, 4, 7]),
        probes=16,
        size=0.2,
        bounds=(0, 1),
        seed=0,
    )
    for signs in probes.signs.float():
        torch.testing.assert_close(signs @ signs.T, 16 * torch.eye(16))
    torch.testing.assert_close(probes.x.view(3, 16, 16), 0.5 + 0.2 * probes.signs.float())
    gaps = torch.linspace(0, 0.9, 10)
    probabilities = torch.stack([0.5 + gaps / 2, 0.5 - gaps / 2], 1)[torch.arange(10).flip(0)]
    rows, labels = choose_samples(probabilities, 3, 0.5)
    assert rows.tolist() == [9, 7, 5]
    assert labels.tolist() == [0, 0, 0]


@pytest.mark.oracle
def test_the_reduction_equals_its_formula_sample_by_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 8, generator=generator)
    labels = torch.tensor([0, 2, 1, 0])
    probes = make_probes(x, labels, torch.arange(4), probes=6, size=0.1, bounds=(-9, 9), seed=1)
    nets = [nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)) for _ in range(3)]
    with torch.no_grad():
        responses = [respond(net(x), net(probes.x), probes, "linf") for net in nets]
        answers = [net(probes.x).view(4, 6, 3) for net in nets]
        clean = [net(x) for net in nets]
    d = torch.stack([it.displacement for it in responses])
    alignment, margins = torch.rand(3, 3, generator=generator), torch.tensor([0.5, 1.0, 2.0])
    found = predicted_flips(
        torch.stack(clean),
        d,
        torch.stack([it.coefficient for it in responses]),
        labels,
        reach=1.5,
        alignment=alignment,
        margins=margins,
        weights=torch.full((1, 4), 0.25),
    )[0]
    share = 24 / 1024

    def push(source: int, target: int, sample: int) -> Tensor:
        signs = probes.signs[sample].float()
        losses = loss(answers[source][sample], labels[sample].expand(6))
        gradient = sum((losses[p] - losses.mean()) * signs[p] for p in range(6))
        moved = torch.zeros(3)
        for p in range(6):
            weight = (8 / 6) ** 0.5 * float(gradient.sign() @ signs[p]) / 6
            moved += weight * (answers[target][sample, p] - answers[target][sample].mean(0))
        return moved

    for source in range(3):
        for target in range(3):
            total = 0.0
            for sample in range(4):
                crossed, own = push(source, target, sample), push(target, target, sample)
                z = clean[target][sample] + 1.5 * (
                    share * crossed + (1 - share) * alignment[source, target] * own
                )
                label = int(labels[sample])
                margin = max(float(z[k]) for k in range(3) if k != label) - float(z[label])
                total += float(torch.sigmoid(torch.tensor(margin) / margins[target])) / 4
            assert float(found[source, target]) == pytest.approx(total, abs=1e-5)


@pytest.mark.law
def test_surrogates_and_ensembles(models, data) -> None:
    names = list(models)
    ranked = wl.compare.surrogate(
        models[names[0]], {name: models[name] for name in names[1:]}, data[0]
    )
    assert {it.name for it in ranked[:2]} == set(names[1:3])
    assert ranked[0].share > ranked[-1].share
    assert ranked[0].interval[0] <= ranked[0].score <= ranked[0].interval[1]
    found = wl.compare.predict(models, data[0])
    pair = wl.compare.diverse(found, 2)
    assert {name.split("-")[0] for name in pair.models} == {"first", "second"}
    assert pair.exhaustive
    table = found.similarity
    every = [(float(table[i, j]), {names[i], names[j]}) for i in range(6) for j in range(i)]
    assert set(pair.models) == min(every, key=lambda it: it[0])[1]
    assert pair.shared == pytest.approx(min(it[0] for it in every))


@pytest.mark.law
def test_exchange_finds_what_trying_all_finds(models, data, monkeypatch) -> None:
    found = wl.compare.predict(models, data[0])
    best = wl.compare.diverse(found, 3)
    monkeypatch.setattr("worldline.compare.using.EXHAUSTIVE", 0)
    greedy = wl.compare.diverse(found, 3)
    assert not greedy.exhaustive
    assert greedy.shared <= best.shared + 0.05
