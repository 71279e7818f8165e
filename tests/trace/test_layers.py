"""Which layers there are by default, by which names they go, and which modules are none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import worldline as wl
from worldline.errors import LayerError
from worldline.trace import collect, find_layers, one_layer, pick_layers, unseen_layers
from worldline.trace.stages import MOST, by_stage

CLASSES = 4


class Body(nn.Module):
    """Pictures to (N, 6, 4, 4); every network below writes down the embedding that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU()
        self.pool, self.drop = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5)
        self.fc = nn.Linear(6, CLASSES)
        self.seen = torch.zeros(0)

    def noted(self, embedding: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            self.seen = embedding.detach().clone()
        return embedding

    def forward(self, x: Tensor) -> object:
        return self.head(self.relu(self.conv(x)))

    def head(self, x: Tensor) -> object:
        raise NotImplementedError


class Flattened(Body):
    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.noted(torch.flatten(self.pool(x), 1)))


class Mean(Body):
    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.noted(x.mean((2, 3))))


class FirstToken(Body):
    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.noted(x.flatten(2).transpose(1, 2)[:, 0]))


class PreLogits(Body):
    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.noted(functional.relu(x.amax((2, 3))))))


class ByName(Body):
    def head(self, x: Tensor) -> Tensor:
        return self.fc(input=self.noted(x.mean((2, 3))))


class Probabilities(Body):
    def head(self, x: Tensor) -> Tensor:
        return functional.softmax(self.fc(self.noted(x.mean((2, 3)))) / 2, 1)


class Temperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0]))

    def forward(self, logits: Tensor) -> Tensor:
        return logits / self.scale


class Calibrated(Body):
    """A module with a weight, but no matrix, stands behind the head."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature, self.norm = Temperature(), nn.LayerNorm(CLASSES)

    def head(self, x: Tensor) -> Tensor:
        return self.temperature(self.norm(self.fc(self.noted(x.mean((2, 3))))))


class Beside(Body):
    """An auxiliary head and a decoder run after the main head; gates read vectors before it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.other = nn.Linear(6, 6), nn.Linear(6, 7)
        self.decoder = nn.Linear(6, 20)

    def head(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pooled = x.mean((2, 3))
        embedding = self.noted(pooled * self.gate(pooled).sigmoid())
        logits = self.fc(embedding)
        return logits, self.other(pooled), self.decoder(pooled + 1)


class BesideScaled(Beside):
    def head(self, x: Tensor) -> dict[str, Tensor]:
        logits, other, decoded = super().head(x)
        return {"logits": logits * 3, "other": other, "decoded": decoded}


class Cosine(Body):
    """The head is a function with a parameter of the root."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 5)
        self.prototypes = nn.Parameter(torch.randn(CLASSES, 5))

    def head(self, x: Tensor) -> Tensor:
        embedding = self.noted(self.fc(x.mean((2, 3))))
        return functional.normalize(embedding) @ functional.normalize(self.prototypes).T


class Parametrised(Body):
    def __init__(self) -> None:
        super().__init__()
        self.fc = parametrizations.weight_norm(self.fc)

    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.noted(x.mean((2, 3))))


class ByConvolution(Body):
    """SqueezeNet's: the head is a convolution, then ReLU and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(6, CLASSES, 1)

    def head(self, x: Tensor) -> Tensor:
        return self.pool(self.relu(self.fc(self.noted(x.flip(1))))).flatten(1)


class OneLogit(Body):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 1)

    def head(self, x: Tensor) -> Tensor:
        logit = self.fc(self.noted(x.mean((2, 3))))
        return torch.cat([-logit, logit], 1)


class Tied(Body):
    """The head's module also runs before: what its last call reads is meant."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.noted(self.fc(x.mean((2, 3))).tanh()))


class Recurrent(Body):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 6, batch_first=True)

    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.noted(self.rnn(x.flatten(2).transpose(1, 2))[0][:, -1]))


WAYS: list[type[Body]] = [
    Flattened,
    Mean,
    FirstToken,
    PreLogits,
    ByName,
    Probabilities,
    Calibrated,
    Beside,
    BesideScaled,
    Cosine,
    Parametrised,
    ByConvolution,
    OneLogit,
    Tied,
    Recurrent,
]
ASKED = {Cosine: "fc", Tied: "fc.input#1"}
WRAPPERS: dict[str, Callable[[nn.Module], object]] = {
    "plain": lambda model: model,
    "method": lambda model: model.forward,
    "compiled": lambda model: torch.compile(model, backend="eager"),
}


def made(way: type[Body]) -> Body:
    torch.manual_seed(0)
    return way().eval()


def pictures(samples: int = 5) -> Tensor:
    return torch.rand(samples, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.law
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("way", WAYS)
def test_the_embedding_is_a_default_layer_whichever_way_it_came(
    way: type[Body], wrapper: str
) -> None:
    model, x = made(way), pictures()
    model(x)
    known, seen = model.seen.flatten(1), WRAPPERS[wrapper](model)
    name = ASKED.get(way, "fc.input")
    for layer in (one_layer(seen, x), one_layer(seen, x, name)):
        assert layer.embedding
        assert layer.default
        torch.testing.assert_close(collect(seen, x, layer.name)[layer.name], known)
    torch.testing.assert_close(next(iter(collect(seen, x, name, batch_size=2).values())), known)
    assert one_layer(seen, x).name in collect(seen, x)
    with wl.trace.reading(model, one_layer(model, x)) as read:
        point = x.clone().requires_grad_(True)
        features, _ = read(point)
        assert torch.autograd.grad(features.sum(), point)[0].abs().max() > 0


@pytest.mark.law
def test_the_embedding_has_a_layer_of_its_own_only_where_no_module_returned_it() -> None:
    x = pictures()
    own = one_layer(made(Mean), x)
    assert (own.name, own.kind, own.shape, own.width) == ("fc.input", "input of Linear", (6,), 6)
    pooled = one_layer(made(Flattened), x)
    assert (pooled.name, pooled.kind) == ("pool", "AdaptiveAvgPool2d")
    assert "fc.input" in pooled.aliases
    graph = torch.export.export(
        made(Mean), (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=99)},)
    ).module()
    assert one_layer(graph, x).kind == "mean"
    assert [it.name for it in find_layers(nn.Linear(3, 2), torch.rand(2, 3))] == ["input", "output"]


@pytest.mark.law
def test_what_searches_at_one_layer_searches_at_the_embedding() -> None:
    model, x, y = made(Mean), pictures(24), torch.arange(24) % CLASSES
    assert wl.explain.distant(model, x, y, k=2, nulls=0, pool=50).layer == "fc.input"
    met = wl.attacks.entangle(model, x[:2], x[2:4], reference=(x, y), steps=1)
    assert met.layer.name == "fc.input"


class Block(nn.Module):
    """A residual block, whose sum no module inside returns."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.a, self.act, self.b = (
            nn.Linear(inputs, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        self.skip = nn.Identity() if inputs == width else nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.b(self.act(self.a(x)))


class Staged(nn.Module):
    def __init__(self, stages: tuple[int, ...]) -> None:
        super().__init__()
        widths = [4 + 2 * stage for stage in range(len(stages))]
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(widths[max(0, s - (i == 0))], widths[s]) for i in range(depth)))
            for s, depth in enumerate(stages)
        )
        self.fc = nn.Linear(widths[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return self.fc(x.abs())


@pytest.mark.law
@pytest.mark.parametrize("stages", [(1,), (2, 3), (3, 4, 6, 3), (3, 4, 23, 3), (40,), (1,) * 30])
def test_at_most_twenty_layers_by_stage_for_any_depth(stages: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, x = Staged(stages), torch.rand(3, 4)
    layers = pick_layers(model, x)
    names = [it.name for it in layers]
    assert len(names) <= MOST
    assert (names[0], names[-2:]) == ("input", ["fc.input", "fc"])
    assert names == [it.name for it in pick_layers(model, x)]
    ends = [f"stages.{stage}.{depth - 1}" for stage, depth in enumerate(stages)]
    blocks = [f"stages.{s}.{i}" for s, depth in enumerate(stages) for i in range(depth)]
    inner = names[1:-2]
    if len(stages) <= MOST - 3:  # each stage's end, and blocks evenly between them
        assert set(ends) <= set(inner)
    if 2 * len(blocks) <= MOST - 3:
        assert len(inner) == 2 * len(blocks)
    else:
        assert set(inner) <= set(blocks)
        steps = [blocks.index(it) for it in inner if it not in ends]
        gaps = [b - a for a, b in pairwise(steps)]
        assert not gaps or max(gaps) - min(gaps) <= 2  # ends in between shift them
        assert len(inner) >= min(len(blocks), MOST // 2 - 3)


@pytest.mark.law
def test_a_flat_sequence_is_chosen_by_change_of_shape() -> None:
    widths = [8] * 9 + [6] * 9 + [5] * 9
    read = list(range(1, len(widths) + 1))
    layers = [("input", (4,)), *((f"body.{i}", (w,)) for i, w in enumerate(widths)), ("fc", (3,))]
    chosen = by_stage(layers, read=read, always=[0, len(widths) + 1])
    assert {9, 18, 27} <= chosen
    assert len(chosen) == MOST
    few = by_stage(layers[:12], read=read[:11], always=[0, 11])
    assert few == set(range(12))


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(
            nn.Linear(6, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True))
        )
        self.drop, self.flat, self.fc = nn.Dropout(), nn.Flatten(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flat(self.drop(self.layer1(x))))


@pytest.mark.law
def test_names_of_containers_modules_and_single_strings_choose_layers() -> None:
    torch.manual_seed(0)
    model, x, y = Nested().eval(), torch.rand(12, 6), torch.arange(12) % 3
    expected = model.layer1(x).detach()
    for asked in ("layer1", "layer1.2", "drop", "flat", "fc.input", model.layer1, model.drop):
        assert one_layer(model, x, asked).name == "layer1.2.1"
        for several in (asked, [asked]):
            found = collect(model, x, several)
            assert list(found) == ["layer1.2.1"]
            torch.testing.assert_close(found["layer1.2.1"], expected)
    compiled = torch.compile(model, backend="eager")
    assert one_layer(compiled, x, model.layer1).name == "layer1.2.1"
    assert one_layer(compiled, x, model).name == "fc"
    chosen = [model.layer1[1], "fc"]
    assert [it.name for it in pick_layers(model, x, chosen)] == ["layer1.1", "fc"]
    settings = wl.Settings(bounds=(-9, 9))
    story = wl.explain.twins(
        model, x, x + 0.1, y, reference=(x, y), settings=settings, layers=model.layer1, null=False
    )
    assert [it.name for it in story.layers] == ["layer1.2.1"]
    far = wl.explain.distant(
        model, x, y, layer=model.layer1[0], layers="drop", k=1, nulls=0, pool=50
    )
    assert (far.layer, [it.name for it in far.layers]) == ("layer1.0", ["layer1.0", "layer1.2.1"])
    few = wl.explain.complexity(
        model,
        x,
        layers=["input", model.flat],
        settings=settings,
        null=False,
        strangers=5,
        resamples=5,
    )
    assert [it.name for it in few.layers] == ["input", "layer1.2.1"]
    spectrum = wl.explain.jacobian_spectrum(model, x[:2], layer=model.layer1)
    assert spectrum.layer.name == "layer1.2.1"
    shared = nn.Sequential(block := nn.Sequential(nn.Linear(6, 6), nn.ReLU()), nn.Tanh(), block)
    assert list(collect(shared, x, "0#1")) == ["0.1#1"]
    assert list(collect(shared, x, "2")) == ["0.1#0", "0.1#1"]


@pytest.mark.message
def test_a_module_of_another_model_is_refused() -> None:
    with pytest.raises(
        LayerError,
        match=r"The module ReLU that was given as a layer is no part of the model\. Pass",
    ):
        pick_layers(Nested(), torch.rand(2, 6), nn.ReLU())


class Partly(nn.Module):
    """Windows, positions, attention, and modules that do not run."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.windows, self.positions = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), Positions()
        self.never = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)))
        self.steps = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.loss, self.unused, self.head = nn.CrossEntropyLoss(), nn.ReLU(), nn.Linear(4, 3)
        self.head = parametrizations.weight_norm(self.head)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positions(x)
        x = self.windows(x.reshape(-1, 2, 4)).reshape(x.shape)
        x = self.attention(x, x, x)[0]
        for step in self.steps:
            x = step(x)
        return self.head(x.mean(1))


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.table * 2


@pytest.mark.message
def test_modules_that_are_not_seen_are_listed_with_the_reason() -> None:
    torch.manual_seed(0)
    model, x, y = Partly().eval(), torch.rand(12, 6, 4), torch.arange(12) % 3
    attention = "not called: attention reads its weights alone"
    assert {it.module: it.reason for it in unseen_layers(model, x)} == {
        "attention.out_proj": attention,
        "windows": "no row for each sample",
        "positions": "no row for each sample",
        "never": "never ran",
    }
    with pytest.raises(
        LayerError, match=r"'attention.out_proj' is never called.*Trace 'attention'"
    ):
        one_layer(model, x, model.attention.out_proj)
    story = wl.explain.twins(model, x, x, y, reference=(x, y), null=False, resamples=5)
    assert (
        "4 modules were not seen: attention.out_proj (not called: attention reads its weights "
        "alone); windows, positions (no row for each sample); never (never ran)."
    ) in story.notes
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    deep = nn.Sequential(nn.TransformerEncoder(layer, 5), nn.Flatten(), nn.Linear(24, 3)).eval()
    story = wl.explain.twins(deep, x, x, y, reference=(x, y), null=False, resamples=5)
    assert story.notes[0] == (
        "5 modules were not seen: 0.layers.0.self_attn.out_proj, 0.layers.1.self_attn.out_proj, "
        "0.layers.2.self_attn.out_proj and 2 more (not called: attention reads its weights alone)."
    )


@pytest.mark.law
@pytest.mark.parametrize("name", wl.zoo.names())
def test_every_module_of_the_zoo_is_seen(name: str) -> None:
    assert unseen_layers(wl.zoo.load(name), wl.zoo.digits().x[:2]) == ()
