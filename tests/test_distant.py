"""The story of distant pairs: planted collisions, laws of its figures, what is left out."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.errors import BoundsError, LabelError, LayerError, ModelError, ShapeError, UsageError
from worldline.explain.pool import Pool
from worldline.explain.sides import first_for_good
from worldline.geometry import Frame
from worldline.runs.codec import from_json, to_json
from worldline.runs.features import feature_store

Side = tuple[wl.explain.DistantPair, ...]


def values(side: Side, name: str) -> Tensor:
    """One number of every pair."""
    return torch.tensor([getattr(pair, name) for pair in side], dtype=torch.float64)


def places(side: Side) -> tuple[Tensor, Tensor]:
    """Rows of both samples of every pair."""
    first, second = torch.tensor([pair.samples for pair in side]).T
    return first, second


@pytest.fixture(scope="module")
def story(mlp: nn.Module, digits) -> wl.explain.DistantStory:
    return wl.explain.distant(mlp, digits.x, digits.y, k=15, nulls=2)


@pytest.mark.oracle
def test_found_pairs_are_the_most_entangled_far_pairs_of_different_labels(
    story: wl.explain.DistantStory, mlp: nn.Module, digits
) -> None:
    features = wl.trace.collect(mlp, digits.x, ["relu2"])["relu2"].double()
    seen = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    value = torch.atanh(seen @ seen.T)
    apart = torch.cdist(
        digits.x.flatten(1).double(),
        digits.x.flatten(1).double(),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    allowed = (digits.y[:, None] != digits.y) & (apart >= story.least_distance)
    best = value.masked_fill(~allowed, 0).triu(1).flatten().sort(descending=True).values
    for side, expected in ((story.merged, best[:15]), (story.opposed, best[-15:].flip(0))):
        phi, (first, second) = values(side, "rapidity"), places(side)
        torch.testing.assert_close(phi, expected, rtol=1e-6, atol=0)
        torch.testing.assert_close(value[first, second], phi, rtol=1e-6, atol=0)
        torch.testing.assert_close(apart[first, second], values(side, "input_distance"))
        assert bool((first < second).all())
        labels = torch.tensor([pair.labels for pair in side])
        assert torch.equal(labels, digits.y[torch.stack((first, second), dim=1)])
        told = torch.tensor([pair.predictions for pair in side])
        assert torch.equal(told, mlp(digits.x).argmax(1)[torch.stack((first, second), dim=1)])


@pytest.mark.oracle
def test_worldlines_and_class_map_against_collected_features(
    story: wl.explain.DistantStory, mlp: nn.Module, digits
) -> None:
    for index, layer in enumerate(story.layers):
        features = wl.trace.collect(mlp, digits.x, [layer.name])[layer.name].double()
        seen = features - features.mean(0)
        for side in (story.merged, story.opposed):
            first, second = places(side)
            expected = wl.rapidity(seen[first], seen[second])
            line = values(side, "worldline")[:, index]
            torch.testing.assert_close(line, expected, rtol=1e-4, atol=1e-5)
    assert [it.worldline[story.layer_index] for it in story.merged] == [
        it.rapidity for it in story.merged
    ]
    assert story.classes is not None
    assert story.classes.labels == tuple(range(10))
    q10, median, q90 = (
        torch.tensor(getattr(story.classes, name), dtype=torch.float64)
        for name in ("q10", "median", "q90")
    )
    assert torch.equal(median, median.transpose(0, 1))
    assert bool((q10 <= median).all() & (median <= q90).all())
    # a trained network holds a class together more than it holds two apart ones together
    own = median.diagonal().T[:, story.layer_index]
    assert float(own.min()) > story.far[1][story.layer_index]
    assert story.same_class[-1] > story.same_class[0]


@pytest.mark.law
def test_shares_ranks_and_nulls_are_consistent(story: wl.explain.DistantStory) -> None:
    beyond = (story.merged_beyond_untrained, story.opposed_beyond_untrained)
    for side, further in zip((story.merged, story.opposed), beyond, strict=True):
        assert len(side) == 15
        for pair in side:
            assert pair.input_quantile >= 0.5
            assert 0 < pair.matched_p <= 0.02
            assert 1 / 3 - 1e-9 <= pair.family_p <= 1
            assert 0 <= pair.untrained_rank <= 1
            assert pair.meets is None or pair.meets <= story.layer_index
        assert further == sum(pair.family_p < 0.34 for pair in side)
    null = story.untrained
    assert null is not None
    assert null.networks == 2
    assert all(best >= last for best, last in zip(null.merged, null.merged_kth, strict=True))
    assert null.merged[0] != null.merged[1]  # each network has weights of its own
    # the input does not depend on the weights
    for pair in story.merged:
        assert pair.worldline[0] == pytest.approx(pair.untrained_worldline[0])
    assert story.counts.pairs < 600 * 599 // 2


class Planted(nn.Module):
    """Reads coordinates 0–2; where the last coordinate is large, ``merge`` maps the input to one
    fixed direction.
    """

    def __init__(self) -> None:
        super().__init__()
        self.merge = nn.Identity()
        self.hidden = Merger()
        self.logits = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.hidden(self.merge(x)))


class Merger(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        marked = (x[:, 5:] > 5).float()
        return (1 - marked) * x + marked * torch.tensor([0.0, 0, 0, 9, 9, 0])

    def reset_parameters(self) -> None:
        """There is nothing to reset: a null cannot take the plant away, and the story must say
        so.
        """


@pytest.fixture(scope="module")
def planted() -> tuple[nn.Module, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    x = torch.randn(90, 6, generator=generator)
    x[4] = torch.tensor([9.0, 0, 0, 0, 0, 6])
    x[8] = torch.tensor([-9.0, 0, 0, 0, 0, 6])
    return Planted(), x, y


@pytest.mark.law
def test_a_planted_collision_is_found_where_it_was_planted(planted) -> None:
    model, x, y = planted
    story = wl.explain.distant(model, x, y, layer="hidden", k=3, layers=["*"])
    best = story.merged[0]
    assert (best.samples, best.rapidity) == ((4, 8), math.inf)
    assert [layer.name for layer in story.layers] == ["input", "hidden", "logits"]
    assert (best.meets, best.input_quantile) == (1, 1.0)
    assert best.matched_p < 0.01
    # and the nulls show that no training was needed for it
    assert story.merged_beyond_untrained == 0
    assert best.family_p == 1.0


@pytest.mark.law
def test_samples_are_called_by_their_rows(planted) -> None:
    model, x, y = planted
    rows = 2 * torch.arange(90) + 7
    story = wl.explain.distant(model, x, y, layer="hidden", k=3, nulls=0, rows=rows)
    assert story.merged[0].samples == (15, 23)
    spoilt = x.index_fill(0, torch.tensor([5]), 1e38)
    model = nn.Sequential(Overflow(), nn.Linear(6, 3))
    with pytest.raises(ModelError, match="infinity for 1 of 90 samples, first sample 17"):
        wl.explain.distant(model, spoilt, y, layer="0", k=3, nulls=0, rows=rows)
    with pytest.raises(ShapeError, match="one row of rows for each sample: 90 samples, 3 rows"):
        wl.explain.distant(model, x, y, rows=rows[:3])


class Overflow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1e10


class Poles(nn.Module):
    """Everything goes to one of two opposite points: all rapidities are infinite."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x[:, :1] > 0, 1.0, -1.0) * torch.tensor([1.0, 2.0, 2.0])


@pytest.mark.law
def test_infinite_rapidities_are_values(planted) -> None:
    """No large number stands for them: not in quantiles, class medians, nor as ends of a band."""
    _, x, y = planted
    model = nn.Sequential(nn.Linear(6, 6), Poles(), nn.Linear(3, 3))
    raw = wl.Settings(frame="raw")
    told = wl.explain.distant(model, x, y, layer="1", k=3, nulls=0, settings=raw)
    at = told.layer_index
    assert {pair.rapidity for pair in told.merged} == {math.inf}
    assert {pair.rapidity for pair in told.opposed} == {-math.inf}
    assert (told.far[0][at], told.far[2][at]) == (-math.inf, math.inf)
    assert told.classes is not None
    for table in (told.classes.median, told.classes.q10, told.classes.q90):
        cells = {abs(cell[at]) for row in table for cell in row}
        assert cells <= {math.inf, 0.0}, "0: as many at one end as at the other"
        assert math.inf in cells


class Uncopyable(nn.Module):
    """Holds a tensor that is no leaf, as a cached feature is: deepcopy refuses it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.cache = torch.ones(1, requires_grad=True) * 2

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@pytest.mark.law
def test_a_model_that_cannot_be_copied_has_no_null_but_a_note(mlp: nn.Module, digits) -> None:
    few, labels = digits.x[:60], digits.y[:60]
    told = wl.explain.distant(Uncopyable(mlp), few, labels, k=2, layer="inner.relu2", nulls=2)
    assert told.untrained is None
    assert told.merged[0].family_p is None
    assert told.merged_beyond_untrained is None
    assert any("no untrained networks" in note and "copied" in note for note in told.notes)


class Dying(nn.Module):
    """Trained, it lets all through; its reset leaves nothing: untrained, all features are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.scale)


@pytest.mark.law
def test_an_untrained_network_that_cannot_be_searched_is_a_note(planted) -> None:
    _, x, y = planted
    model = nn.Sequential(Dying(), nn.Linear(6, 3))
    told = wl.explain.distant(model, x, y, layer="0", k=2, nulls=2)
    assert len(told.merged) == 2
    assert told.untrained is None
    assert any("There are no untrained networks. Layer '0'" in note for note in told.notes)


class Undecided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x[:, 5:] > 5, torch.nan, x[:, :3])


@pytest.mark.law
def test_an_undefined_prediction_is_none_and_counted(planted) -> None:
    _, x, y = planted
    told = wl.explain.distant(Tail(), x, y, layer="look", k=60, nulls=0)
    assert told.counts.unpredicted == 2
    pairs = [pair for pair in told.merged + told.opposed if set(pair.samples) & {4, 8}]
    assert pairs
    assert {pair.one_prediction for pair in pairs} == {None}
    assert any("2 samples have an output with NaN" in note for note in told.notes)


class Tail(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Identity()
        self.end = Undecided()

    def forward(self, x: Tensor) -> Tensor:
        self.look(x * 2)
        return self.end(x)


@pytest.mark.law
def test_told_apart_is_no_merging(planted) -> None:
    """Features meet, and what follows still knows both: `merged` is the layer's word alone."""
    pair = wl.explain.distant(*planted, layer="hidden", k=1, nulls=0).merged[0]
    assert pair.one_prediction is True
    assert dataclasses.replace(pair, predictions=(0, 1)).one_prediction is False
    assert dataclasses.replace(pair, predictions=(0, None)).one_prediction is None


@pytest.mark.law
def test_copies_dead_and_constant_features_are_counted(planted) -> None:
    model, x, y = planted
    x = x.clone()
    x[1] = x[0]
    x[30] = x[0]
    x[:, 1], x[:, 2] = 0.0, 4.0
    story = wl.explain.distant(model, x, y, layer="hidden", k=3, nulls=0)
    counts = story.counts
    assert (counts.copies, counts.copies_disagree) == (3, 2)
    # the merged samples are zero in the first, and not 4 in the second
    assert (counts.dead, counts.constant) == (1, 0)
    plain = torch.arange(90)[(torch.arange(90) != 4) & (torch.arange(90) != 8)]
    story = wl.explain.distant(
        model, x[plain], y[plain], layer="hidden", k=3, nulls=0, input_quantile=0.0
    )
    assert (story.counts.dead, story.counts.constant) == (1, 1)
    assert any(
        "3 pairs of identical inputs were left out (2 of them with different labels)" in it
        for it in story.notes
    )
    assert any(
        "Of the layer's 6 features 1 are zero and 1 are another constant for all samples" in it
        for it in story.notes
    )
    assert min(pair.input_distance for pair in story.merged) > 0
    assert story.untrained is None
    assert story.merged[0].family_p is None


@pytest.mark.law
def test_same_seed_same_story_and_the_model_is_untouched(mlp: nn.Module, digits) -> None:
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    stories = [
        wl.explain.distant(mlp, digits.x[:200], digits.y[:200], k=4, nulls=1, block=block)
        for block in (1024, 33)
    ]
    assert stories[0] == stories[1]
    assert all(torch.equal(value, before[name]) for name, value in mlp.state_dict().items())
    assert not any(module._forward_hooks for module in mlp.modules())


@pytest.mark.law
def test_a_store_and_own_input_features_can_be_handed_in(mlp: nn.Module, digits, tmp_path) -> None:
    x, y = digits.x[:150], digits.y[:150]
    store = feature_store(tmp_path / "features", 150, 128)
    plain = wl.explain.distant(mlp, x, y, k=5, nulls=0)
    stored = wl.explain.distant(mlp, x, y, k=5, nulls=0, store=store)
    assert plain == stored
    assert torch.equal(store, wl.trace.collect(mlp, x, ["relu2"])["relu2"])
    own = wl.explain.distant(mlp, x, y, k=5, nulls=0, inputs=10 * x.flatten(1))
    torch.testing.assert_close(
        values(own.merged, "input_distance"), 10 * values(plain.merged, "input_distance")
    )
    assert [it.samples for it in own.merged] == [it.samples for it in plain.merged]
    with pytest.raises(
        ShapeError, match=r"store must be a floating tensor \(150, 128\) for layer 'relu2'"
    ):
        wl.explain.distant(mlp, x, y, k=5, store=torch.empty(150, 64))


@pytest.mark.oracle
def test_matched_p_and_rank_by_counting() -> None:
    generator = torch.Generator().manual_seed(0)
    distance = torch.rand(3000, generator=generator).double().sort().values
    value = torch.randn(3000, generator=generator).double()
    pool = Pool(torch.zeros(3000).long(), torch.ones(3000).long(), distance).beyond(0.4)
    assert abs(float(pool.far().double().mean()) - 0.6) < 1e-3
    known, theirs = distance[pool.far()], value[pool.far()]
    for sign in (1, -1):
        for at, mine in ((0.9, 1.5), (0.45, -0.3)):
            centre = int((known < at).sum())
            start = min(max(centre - 500, 0), len(known) - 1000)
            expected = (1 + int((sign * theirs[start : start + 1000] >= sign * mine).sum())) / 1001
            got = pool.matched_p(
                torch.tensor([mine]).double(), torch.tensor([at]).double(), value, sign
            )
            assert float(got) == pytest.approx(expected)
            rank = pool.rank(torch.tensor([mine]).double(), value, sign)
            assert float(rank) == pytest.approx(
                float((sign * theirs >= sign * mine).double().mean())
            )


@pytest.mark.law
def test_meeting_for_good() -> None:
    flags = torch.tensor(
        [[0, 1, 1, 1, 0], [1, 0, 1, 1, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 1]]
    ).bool()
    assert first_for_good(flags[:, :4]).tolist() == [1, 2, -1, 0]


@pytest.mark.oracle
def test_traced_pairs_equal_collected_ones(cnn: nn.Module, digits) -> None:
    layers = wl.trace.choose_layers(wl.trace.find_layers(cnn, digits.x))
    frames = wl.trace.fit_frames(cnn, digits.x, layers)
    first, second = torch.arange(40), torch.arange(40, 80)
    value = wl.trace.trace_pairs(cnn, digits.x, first, second, frames, layers, batch_size=14)
    features = wl.trace.collect(cnn, digits.x)
    for index, layer in enumerate(layers):
        seen = features[layer.name].double()
        seen = seen - seen.mean(0)
        torch.testing.assert_close(
            value[:, index], wl.rapidity(seen[first], seen[second]), rtol=1e-4, atol=1e-5
        )
    raw = wl.trace.fit_frames(cnn, digits.x, layers, "raw")
    assert raw[0] == Frame("raw")


@pytest.mark.law
def test_results_hold_no_tensor_and_survive_the_codec(story: wl.explain.DistantStory) -> None:
    assert from_json(wl.explain.DistantStory, to_json(story), "here") == story


class Odd(nn.Module):
    """A module that returns a mean over the batch, one that breaks, one that collapses, one that
    never runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = Total()
        self.broken = Broken()
        self.flat = Flat()
        self.idle = nn.Linear(2, 2)
        self.logits = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.broken(x), self.flat(x)
        return self.logits(x) + self.total(x).sum()


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean()


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 2.0, torch.nan, x)


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), 2)


@pytest.mark.message
def test_what_cannot_be_searched(mlp: nn.Module, digits) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y, odd = torch.randn(60, 4, generator=generator), torch.arange(60) % 3, Odd()
    x[7, 0] = 3.0
    few, labels = digits.x[:20], digits.y[:20]
    for model, inputs, classes, options, error, words in (
        (
            odd,
            x,
            y,
            {"layer": "total"},
            LayerError,
            r"'total' is no value.*3 inputs it returned \(\) torch.float32.*batch dimension",
        ),
        (odd, x, y, {"layer": "idle"}, LayerError, "'idle' exists but never ran"),
        (
            odd,
            x,
            y,
            {"layer": "nothing"},
            LayerError,
            "No layer matches 'nothing'. The layers that ran, in order: input",
        ),
        (odd, x, y, {"layer": "*"}, LayerError, r"'\*' matches \d+: input"),
        (
            odd,
            x,
            y,
            {"layer": "broken"},
            ModelError,
            r"'broken' returned NaN or infinity for \d+ of 60 samples, first sample",
        ),
        (
            odd,
            x,
            y,
            {"layer": "flat"},
            ModelError,
            "'flat' returned the same 2 features for all 60 samples",
        ),
        (
            mlp,
            few,
            labels,
            {"k": 191},
            UsageError,
            r"k must be between 1 and the \d+ pairs that 20 samples have.*got 191",
        ),
        (
            mlp,
            few,
            labels * 0 + 3,
            {},
            LabelError,
            "All 20 samples have the label 3.*different_labels=False",
        ),
        (mlp, few, labels + 9, {}, LabelError, "0…9"),
        (mlp, few * torch.nan, labels, {}, BoundsError, "20 samples hold NaN"),
        (
            mlp,
            few,
            labels,
            {"input_quantile": 1.0},
            UsageError,
            r"input_quantile must be in \[0, 1\).*got 1.0",
        ),
        (mlp, few, labels, {"nulls": -1}, UsageError, "nulls must be 0 or more"),
        (mlp, few, labels, {"settings": wl.Settings(frame="black")}, UsageError, "Unknown frame"),
        (
            mlp,
            few,
            labels,
            {"inputs": few[1:]},
            ShapeError,
            "one row of inputs for each sample: 20 samples, 19 rows",
        ),
        (
            mlp,
            few[:1].repeat(20, 1, 1, 1),
            labels,
            {},
            ShapeError,
            "Every eligible pair is a pair of identical inputs",
        ),
    ):
        with pytest.raises(error, match=words):
            wl.explain.distant(model, inputs, classes, **{"k": 2, **options})


@pytest.mark.law
def test_one_class_and_plain_callables(mlp: nn.Module, digits) -> None:
    few = digits.x[:20]
    one = wl.explain.distant(
        mlp, few, torch.zeros(20).long(), different_labels=False, k=190, input_quantile=0.9
    )
    assert one.counts.pairs == 190
    assert 0 < len(one.merged) + len(one.opposed) <= 20
    assert any("k = 190 were asked for" in note for note in one.notes)
    plain = wl.explain.distant(mlp.forward, few, digits.y[:20], k=2, layer="output")
    assert plain.untrained is None
    assert any("plain callable" in note for note in plain.notes)
    assert plain.narrow
    assert any("10 features for 64 input entries" in note for note in plain.notes)
