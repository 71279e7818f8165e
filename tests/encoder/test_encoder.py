"""Encoder: exact against literal, weights, streaming, batches, depth 1,000."""

import math

import pytest
import torch
from scipy import stats

import worldline as wl
from worldline.encoder import Encoder, encode_together, reconcile_grey, spacetime_path
from worldline.errors import BoundsError

SETTINGS = [
    (8, 2, 3, "largest"),
    (30, 6, 4, "largest"),
    (30, 6, 4, "most_negative"),
    (6, 6, 5, "none"),
    (64, 1, 4, "largest"),
]


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def statistics(
    encoder: Encoder, x: torch.Tensor, others: torch.Tensor, seed: int
) -> dict[str, torch.Tensor]:
    """Many one-number summaries of each of P encoders: weights, readings, paths."""
    fitted = encoder.fit(x, seed=seed)
    path = fitted.transform(others)
    weights = list(fitted.weights())
    unit = x / x.norm(dim=1, keepdim=True)
    across = weights[0] - (weights[0] @ unit[:, :, None]) * unit[:, None, :]
    own = fitted.path
    last = encoder.depth
    return {
        "reading": (weights[0] @ unit[:, :, None])[:, 0, 0],
        "length of x": own.log_norms[last] - own.log_norms[0],
        "length of another": path.log_norms[last][:, 0],
        "cosine after one layer": (path.directions[1][:, 0] * own.directions[1]).sum(-1),
        "cosine at the end": (path.directions[last][:, 0] * own.directions[last]).sum(-1),
        "cosine of two others": (path.directions[1][:, 0] * path.directions[1][:, 1]).sum(-1),
        "energy across x": (across**2).sum((-1, -2)),
        "skew across x": across[:, 0, 0] * across[:, -1, -1],
        "top singular value": torch.linalg.svdvals(weights[0])[:, 0],
        "scale of H": fitted.compose().log_scale,
        "first coordinate": own.directions[last][:, 0],
    }


@pytest.mark.oracle
@pytest.mark.parametrize(("n", "k", "depth", "rule"), SETTINGS)
def test_exact_sampler_has_the_distribution_of_the_literal_one(
    n: int, k: int, depth: int, rule: str
) -> None:
    x, others = features(2500, 5), features(2500, 2, 5, seed=1)
    exact = statistics(Encoder(width=k, candidates=n, depth=depth, rule=rule), x, others, 2)
    literal = statistics(
        Encoder(width=k, candidates=n, depth=depth, rule=rule, sampler="literal"), x, others, 3
    )
    p = {name: stats.ks_2samp(exact[name].numpy(), literal[name].numpy()).pvalue for name in exact}
    assert min(p.values()) > 1e-3, p
    for name, value in exact.items():
        spread = math.sqrt(float(value.var() + literal[name].var()) / len(value))
        assert abs(float(value.mean() - literal[name].mean())) <= 3.5 * spread, name


@pytest.mark.oracle
@pytest.mark.parametrize(("n", "k", "depth", "rule"), SETTINGS)
def test_together_has_the_distribution_of_fit_and_transform(
    n: int, k: int, depth: int, rule: str
) -> None:
    """M = 4 features of D = 3: more features than dimensions, and fewer after a layer of k > 4."""
    encoder = Encoder(width=k, candidates=n, depth=depth, rule=rule)
    x = features(2500, 4, 3)
    together, fitted = (
        encode_together(encoder, x, seed=5),
        encoder.fit(x[:, 0], seed=6).transform(x),
    )

    def summaries(path):
        last = path.directions[-1]
        cosines = last @ last.transpose(-1, -2)
        lengths = path.log_norms[-1]
        return {
            "01": cosines[:, 0, 1],
            "12": cosines[:, 1, 2],
            "13": cosines[:, 1, 3],
            "l0": lengths[:, 0],
            "l1": lengths[:, 1],
            "l1−l2": lengths[:, 1] - lengths[:, 2],
            "first": last[:, 0, 0],
            "last": last[:, 2, -1],
        }

    a, b = summaries(together), summaries(fitted)
    if k > 1:
        p = {name: stats.ks_2samp(a[name].numpy(), b[name].numpy()).pvalue for name in a}
        assert min(p.values()) > 1e-3, p
    else:  # one coordinate: cosines are ±1, and their means are compared
        assert abs(float(a["01"].mean() - b["01"].mean())) < 0.1
        assert stats.ks_2samp(a["l1"].numpy(), b["l1"].numpy()).pvalue > 1e-3


@pytest.mark.law
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "k", "depth", "rule"), SETTINGS)
def test_weights_map_the_feature_along_its_path(
    n: int, k: int, depth: int, rule: str, dtype: torch.dtype
) -> None:
    x, others = features(9).to(dtype), features(4, 9, seed=1).to(dtype)
    fitted = Encoder(width=k, candidates=n, depth=depth, rule=rule, normalise=False).fit(x, seed=1)
    tolerance = 30 * torch.finfo(dtype).eps
    own, path = fitted.transform(x[None]), fitted.transform(others)
    literal = others
    for layer, weight in enumerate(fitted.weights(), 1):
        assert weight.shape == (k, 9 if layer == 1 else k)
        literal = literal @ weight.T
        assert torch.allclose(
            fitted.path.directions[layer], own.directions[layer][0], atol=tolerance
        )
        scale = literal.norm(dim=1, keepdim=True)
        assert torch.allclose(path.features(layer) / scale, literal / scale, atol=10 * tolerance)
    composed = fitted.compose()
    product = others @ composed.matrix.T * composed.log_scale.exp()
    assert torch.allclose(product / literal.norm(), literal / literal.norm(), atol=10 * tolerance)
    assert float(torch.linalg.matrix_norm(composed.matrix)) == pytest.approx(1, rel=1e-5)


@pytest.mark.law
def test_the_rule_holds_for_the_rows_that_were_kept() -> None:
    x = features(20)
    unit = x / x.norm()
    for rule in ("largest", "most_negative"):
        for sampler in ("exact", "literal"):
            fitted = Encoder(width=3, candidates=500, depth=2, rule=rule, sampler=sampler).fit(x)
            read = next(fitted.weights()) @ unit
            assert torch.allclose(read, fitted.readings[0])
            assert (read.abs() > 2).all()
            assert rule == "largest" or (read < 0).all()


@pytest.mark.law
def test_streamed_weights_are_the_held_ones() -> None:
    x, others = features(3, 40), features(3, 6, 40, seed=1)
    held = Encoder(width=16, candidates=100, depth=6).fit(x, seed=8)
    streamed = Encoder(width=16, candidates=100, depth=6, memory=1).fit(x, seed=8)
    for _ in range(2):  # and again
        assert all(
            torch.equal(a, b) for a, b in zip(held.weights(), streamed.weights(), strict=True)
        )
    assert torch.equal(
        held.transform(others).directions[-1], streamed.transform(others).directions[-1]
    )
    assert streamed._kept is None
    assert held._kept is not None


@pytest.mark.law
def test_a_batch_of_encoders_is_independent_encoders() -> None:
    x = features(400, 6)
    fitted = Encoder(width=5, candidates=20, depth=2).fit(x, seed=0)
    assert fitted.path.log_norms.shape == (3, 400)
    weights = list(fitted.weights())
    assert [tuple(w.shape) for w in weights] == [(400, 5, 6), (400, 5, 5)]
    assert fitted.compose().matrix.shape == (400, 5, 6)
    unit = x / x.norm(dim=1, keepdim=True)
    across = (weights[0] - (weights[0] @ unit[..., None]) * unit[:, None]).flatten(1)
    correlation = torch.corrcoef(across)[~torch.eye(400, dtype=torch.bool)]
    assert abs(float(correlation.mean())) < 0.005
    shared = features(7, 6, seed=4)
    to_all = fitted.transform(shared)
    assert to_all.directions[-1].shape == (400, 7, 5)
    each = fitted.transform(shared.expand(400, 7, 6))
    assert torch.equal(to_all.directions[-1], each.directions[-1])
    assert fitted.rapidities(shared).shape == (3, 400, 7)


@pytest.mark.law
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_depth_1000_without_normalisation_carries_its_scale(dtype: torch.dtype) -> None:
    encoder = Encoder(width=20, candidates=300, depth=1000, normalise=False)
    fitted = encoder.fit(features(30).to(dtype), seed=1)
    path = fitted.transform(features(4, 30, seed=2).to(dtype))
    assert torch.isfinite(path.log_norms).all()
    assert all(torch.isfinite(d).all() for d in path.directions)
    assert float(path.log_norms[-1].min()) > 1000  # e^1000 fits no dtype
    assert torch.isfinite(fitted.compose().log_scale)
    assert torch.isfinite(path.features(5)).all()
    with pytest.raises(
        BoundsError, match=r"Features of layer 1000 have lengths up to e\^\d+, more than"
    ):
        path.features(1000)


@pytest.mark.law
@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_length_of_the_feature_does_not_matter(scale: float) -> None:
    x, others = features(6), features(3, 6, seed=1)
    encoder = Encoder(width=4, candidates=9, depth=3)
    small = encoder.fit(x * scale).transform(others * scale)
    plain = encoder.fit(x).transform(others)
    assert torch.allclose(small.directions[-1], plain.directions[-1], atol=1e-12)
    assert torch.allclose(
        small.log_norms - plain.log_norms, torch.full_like(plain.log_norms, math.log(scale))
    )


@pytest.mark.law
def test_zero_rows_stay_zero_and_layers_can_be_chosen() -> None:
    others = torch.stack((torch.zeros(6, dtype=torch.float64), features(6)))
    for normalise in (True, False):
        fitted = Encoder(width=4, candidates=9, depth=5, normalise=normalise).fit(features(6))
        path = fitted.transform(others, layers=[5, 2])
        assert path.layers == (2, 5)
        assert torch.equal(path.features(5)[0], torch.zeros(4, dtype=torch.float64))
        assert path.log_norms[0, 0] == -math.inf
        assert torch.equal(path.directions[1], fitted.transform(others).directions[5])


@pytest.mark.law
def test_seeds_and_generators() -> None:
    encoder, x = Encoder(width=4, candidates=9, depth=3), features(6)
    state = torch.random.get_rng_state()
    one, same, other = (encoder.fit(x, seed=s).path.directions[-1] for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    generator = torch.Generator().manual_seed(1)
    first, second = (encoder.fit(x, generator=generator).path.directions[-1] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.law
def test_layers_are_independent_of_data_drawn_with_the_same_seed() -> None:
    """Equal seeds for data and encoder must not feed both from one stream."""
    for seed in range(5):
        x = torch.randn(1, 40, generator=torch.Generator().manual_seed(seed))
        weight = next(
            Encoder(width=1, candidates=1, depth=1, rule="none").fit(x[0], seed=seed).weights()
        )
        assert abs(float(wl.correlation(weight - (weight @ x.T) / (x @ x.T) * x, x))) < 1e-5
        drawn = torch.randn(40, generator=torch.Generator().manual_seed(seed))
        assert abs(float(wl.correlation(weight, drawn[None]))) < 0.5
        message = torch.zeros(30)
        told = reconcile_grey(
            Encoder(width=30, candidates=40, depth=1), x[0], x[0].flip(0), message, seed=seed
        )
        assert told.overheard_error > 1e-2  # the eavesdropper's vector is not the sender's


@pytest.mark.law
def test_the_published_claims_with_their_published_settings() -> None:
    """Distant features end parallel or anti-parallel, and so do unseen ones."""
    pairs = features(50, 2, 512)
    for n, k, depth in ((10, 2, 20), (100, 2, 50)):
        last = encode_together(
            Encoder(width=k, candidates=n, depth=depth), pairs, seed=1
        ).directions[-1]
        cosine = (last[:, 0] * last[:, 1]).sum(-1)
        assert (cosine.abs() > 1 - 1e-6).all()
        assert 10 < int((cosine > 0).sum()) < 40  # both signs
    fitted = Encoder(width=256, candidates=16384, depth=10).fit(features(256).float(), seed=0)
    unseen = features(500, 256, seed=3).float()
    phi = fitted.rapidities(unseen).abs().median(1).values
    assert (phi[1:] > phi[:-1]).all()
    assert float(phi[10]) > 6
    walk = spacetime_path(fitted.path, speed=0.5)
    assert walk.shape == (11, 257)
    assert torch.allclose(walk.norm(dim=1), torch.ones(11))
    time = torch.arange(11) * 0.5
    assert torch.allclose(walk[:, 0], time / torch.hypot(time, torch.ones(11)))
    assert wl.angle(walk[1:2], walk[10:]).item() > 0
