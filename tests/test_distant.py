"""The story of distant pairs: planted collisions, laws of its figures, what is left out, and
messages.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.errors import BoundsError, LabelError, LayerError, ModelError, ShapeError, UsageError
from worldline.explain.evidence import _for_good
from worldline.explain.pool import Pool
from worldline.geometry import Frame


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
    torch.testing.assert_close(story.merged.rapidity, best[:15], rtol=1e-6, atol=0)
    torch.testing.assert_close(story.opposed.rapidity, best[-15:].flip(0), rtol=1e-6, atol=0)
    for side in (story.merged, story.opposed):
        torch.testing.assert_close(value[side.first, side.second], side.rapidity, rtol=1e-6, atol=0)
        torch.testing.assert_close(apart[side.first, side.second], side.input_distance)
        assert bool((side.first < side.second).all())


@pytest.mark.oracle
def test_worldlines_and_class_map_against_collected_features(
    story: wl.explain.DistantStory, mlp: nn.Module, digits
) -> None:
    for index, layer in enumerate(story.layers):
        features = wl.trace.collect(mlp, digits.x, [layer.name])[layer.name].double()
        seen = features - features.mean(0)
        for side in (story.merged, story.opposed):
            expected = wl.rapidity(seen[side.first], seen[side.second])
            torch.testing.assert_close(side.worldline[:, index], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(story.merged.worldline[:, story.index], story.merged.rapidity)
    assert story.classes is not None
    assert torch.equal(story.classes.classes, torch.arange(10))
    assert torch.equal(story.classes.median, story.classes.median.transpose(0, 1))
    assert bool(
        (story.classes.q10 <= story.classes.median).all()
        & (story.classes.median <= story.classes.q90).all()
    )
    # a trained network holds a class together more than it holds two apart ones together
    own = story.classes.median.diagonal().T[:, story.index]
    assert float(own.min()) > float(story.far[1, story.index])
    assert float(story.same_class[-1]) > float(story.same_class[0])


@pytest.mark.law
def test_shares_ranks_and_nulls_are_consistent(story: wl.explain.DistantStory) -> None:
    for side in (story.merged, story.opposed):
        assert len(side) == 15
        assert bool((side.input_quantile >= 0.5).all())
        assert bool(((side.matched_p > 0) & (side.matched_p <= 0.02)).all())
        assert bool(((side.family_p >= 1 / 3 - 1e-9) & (side.family_p <= 1)).all())
        assert bool(((side.untrained_rank >= 0) & (side.untrained_rank <= 1)).all())
        assert side.beyond == int((side.family_p < 0.34).sum())
        assert bool((side.meets <= story.index).all())
    assert story.null is not None
    assert bool((story.null.merged >= story.null.merged_kth).all())
    assert float(story.null.merged[0]) != float(
        story.null.merged[1]
    )  # each network has weights of its own
    # the input does not depend on the weights
    torch.testing.assert_close(story.merged.worldline[:, 0], story.merged.untrained_worldline[:, 0])
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
    assert (int(story.merged.first[0]), int(story.merged.second[0])) == (4, 8)
    assert float(story.merged.rapidity[0]) == torch.inf
    assert [layer.name for layer in story.layers] == ["input", "hidden", "logits"]
    assert int(story.merged.meets[0]) == 1
    assert float(story.merged.input_quantile[0]) == 1.0
    assert float(story.merged.matched_p[0]) < 0.01
    # and the nulls show that no training was needed for it
    assert story.merged.beyond == 0
    assert float(story.merged.family_p[0]) == 1.0


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
    assert (counts.dead, counts.constant) == (
        1,
        0,
    )  # the merged samples are zero in the first, and not 4 in the second
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
        "1 of the layer's 6 features are zero for all samples, 1 another constant" in it
        for it in story.notes
    )
    assert float(story.merged.input_distance.min()) > 0
    assert story.null is None
    assert story.merged.family_p is None


@pytest.mark.law
def test_same_seed_same_story_and_the_model_is_untouched(mlp: nn.Module, digits) -> None:
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    stories = [
        wl.explain.distant(mlp, digits.x[:200], digits.y[:200], k=4, nulls=1, block=block)
        for block in (1024, 33)
    ]
    for name in ("first", "second", "rapidity", "matched_p", "untrained_rank", "worldline"):
        assert torch.equal(getattr(stories[0].merged, name), getattr(stories[1].merged, name))
    assert all(torch.equal(value, before[name]) for name, value in mlp.state_dict().items())
    assert not any(module._forward_hooks for module in mlp.modules())


@pytest.mark.law
def test_a_store_and_own_input_features_can_be_handed_in(mlp: nn.Module, digits, tmp_path) -> None:
    x, y = digits.x[:150], digits.y[:150]
    store = wl.runs.feature_store(tmp_path / "features", 150, 128)
    plain = wl.explain.distant(mlp, x, y, k=5, nulls=0)
    stored = wl.explain.distant(mlp, x, y, k=5, nulls=0, store=store)
    assert torch.equal(plain.merged.rapidity, stored.merged.rapidity)
    assert torch.equal(store, wl.trace.collect(mlp, x, ["relu2"])["relu2"])
    own = wl.explain.distant(mlp, x, y, k=5, nulls=0, inputs=10 * x.flatten(1))
    torch.testing.assert_close(own.merged.input_distance, 10 * plain.merged.input_distance)
    assert torch.equal(own.merged.first, plain.merged.first)
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
    assert _for_good(flags, 3).tolist() == [1, 2, -1, 0]


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
def test_results_are_plain(story: wl.explain.DistantStory) -> None:
    for part in (story, story.merged, story.null, story.classes, story.counts):
        assert dataclasses.is_dataclass(part)
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            assert not isinstance(value, Tensor) or (
                value.device.type == "cpu" and not value.requires_grad
            )


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
        (mlp, few, labels, {"frame": "black"}, UsageError, "Unknown frame"),
        (
            mlp,
            few,
            labels,
            {"inputs": few[1:]},
            ShapeError,
            "one row for each sample: 20 samples, 19 rows",
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
    assert plain.null is None
    assert any("plain callable" in note for note in plain.notes)
    assert plain.narrow
    assert any("10 features for 64 input entries" in note for note in plain.notes)
