"""Tracing on every shape of model: the features are those that a plain computation gives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils import parametrizations, parametrize

import worldline as wl
from worldline.errors import LayerError, ModelError, ShapeError, UsageError
from worldline.trace import collect, find_layers, hidden_because, one_layer, pick_layers, tracing


class Net(nn.Module):
    """In-place and reused ReLU, a residual sum, a concatenation, BatchNorm, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(16, 3)
        self.norm, self.relu, self.drop = nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        one = self.relu(self.norm(self.first(x)))
        two = self.relu(self.second(self.drop(one)) + one)
        return self.head(torch.cat((one, two), dim=1))


def plainly(net: Net, x: Tensor) -> dict[str, Tensor]:
    """The same in float64, written out."""
    weight = {name: value.detach().double() for name, value in net.state_dict().items()}
    x = x.double()
    first = x @ weight["first.weight"].T + weight["first.bias"]
    scale = weight["norm.weight"] / (weight["norm.running_var"] + 1e-5).sqrt()
    norm = (first - weight["norm.running_mean"]) * scale + weight["norm.bias"]
    one = norm.clamp(min=0)
    second = one @ weight["second.weight"].T + weight["second.bias"]
    two = (second + one).clamp(min=0)
    both = torch.cat((one, two), 1)
    head = both @ weight["head.weight"].T + weight["head.bias"]
    return {
        "input": x,
        "first": first,
        "norm": norm,
        "relu#0": one,
        "second": second,
        "relu#1": two,
        "head.input": both,
        "head": head,
    }


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def x_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def assert_features(
    found: dict[str, Tensor], expected: dict[str, Tensor], *, rtol: float = 1e-4
) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():  # float32 (or coarser) arithmetic of values of order one
        torch.testing.assert_close(
            found[name].double(), value.flatten(1).double(), rtol=rtol, atol=rtol, msg=name
        )


class Wrapped(nn.Module):
    """A compiled submodule under a root that is not."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def closure(model: nn.Module) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        return model(x)

    return run


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.eval().compile(backend="eager")
    model(torch.rand(4, 6))
    return model


def compiled(model: nn.Module) -> nn.Module:
    fast = torch.compile(model.eval(), backend="eager")
    fast(torch.rand(4, 6))
    return fast


def exported(model: nn.Module, x: Tensor) -> nn.Module:
    return torch.export.export(
        model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=99)},)
    ).module()


def with_hooks(model: nn.Module) -> nn.Module:
    model.second.register_forward_hook(lambda _module, _inputs, output: output + 1)
    model.second.bias.data -= 1
    return model


SHAPES: dict[str, Callable[[Net], object]] = {
    "a module": lambda model: model,
    "in train mode": lambda model: model.train(),
    "DataParallel": nn.DataParallel,
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "DataParallel of compiled": lambda model: nn.DataParallel(compiled(model)),
    "a closure": closure,
    "a partial": functools.partial,
    "a method": lambda model: model.forward,
    "a closure over a compiled module": lambda model: closure(compiled(model)),
}


@pytest.mark.oracle
@pytest.mark.parametrize("shape", SHAPES)
def test_wrapped_models_have_the_features_and_names_of_the_plain_one(shape: str) -> None:
    model, x = net(), x_of(7, 6)
    expected = plainly(model, x)
    assert_features(collect(SHAPES[shape](model), x, ["*"], batch_size=3), expected)


@pytest.mark.oracle
def test_a_compiled_submodule_is_traced_under_its_own_name() -> None:
    model, x = net(), x_of(5, 6)
    expected = {
        name if name == "input" else f"inner.{name}": value
        for name, value in plainly(model, x).items()
    }
    assert_features(collect(Wrapped(compiled(model)), x, ["*"]), expected)


@pytest.mark.oracle
def test_an_exported_model_is_followed_operation_by_operation() -> None:
    model, x = net(), x_of(5, 6)
    expected = plainly(model, x)
    graph = exported(model, x)
    found = collect(graph, x, ["*"], batch_size=3)
    one, two = expected["relu#0"], expected["relu#1"]
    assert_features(
        found,
        {
            **{name: expected[name] for name in ("input", "first", "norm", "relu#0", "second")},
            "add": expected["second"] + one,
            "relu#1": two,
            "cat": expected["head.input"],
            "head": expected["head"],
        },
    )
    assert [layer.name for layer in pick_layers(graph, x)] == [
        "input",
        "relu#0",
        "relu#1",
        "cat",
        "head",
    ]
    assert one_layer(graph, x).name == one_layer(graph, x, "head.input").name == "cat"
    layer = one_layer(graph, x, "relu#1")
    with wl.trace.reading(graph, layer) as read:
        point = x.clone().requires_grad_(True)
        features, _ = read(point)
        (gradient,) = torch.autograd.grad(features.sum(), point)
    again = x.clone().requires_grad_(True)
    model.eval()
    first = relu(model.norm(model.first(again)))
    (known,) = torch.autograd.grad(relu(model.second(first) + first).sum(), again)
    torch.testing.assert_close(gradient, known)


@pytest.mark.message
def test_an_exported_model_that_cannot_be_traced_says_what_to_export() -> None:
    model, x = net(), x_of(4, 6)
    fixed = torch.export.export(model.eval(), (x,)).module()
    with pytest.raises(
        LayerError, match=r"does not take 3 inputs.*Export it with a free batch size: torch\.export"
    ):
        find_layers(fixed, x)
    training = torch.export.export(model.train(), (x,)).module()
    with pytest.raises(
        ModelError, match=r"exported in training mode \(batch_norm is .*after model\.eval\(\)"
    ):
        find_layers(training, x)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "make", [torch.jit.script, lambda model: torch.jit.trace(model, torch.rand(2, 6))]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_model_shows_its_input_and_output_and_says_why(make) -> None:
    model, x = net().eval(), x_of(5, 6)
    scripted = make(model)
    expected = plainly(model, x)
    assert_features(collect(scripted, x, ["*"]), {"input": x, "output": expected["head"]})
    assert "scripted, and PyTorch runs no hooks" in hidden_because(scripted)
    with pytest.raises(
        LayerError,
        match=r"'first' cannot be seen, only the input and the output: the model is scripted",
    ):
        collect(scripted, x, ["first"])
    inside = Wrapped(scripted)
    assert [layer.name for layer in find_layers(inside, x)] == ["input", "output"]
    with pytest.raises(LayerError, match=r"'inner\.first'|'inner' cannot be seen: it is scripted"):
        one_layer(inside, x, "inner")


@pytest.mark.oracle
def test_hooks_of_the_user_run_first_and_stay() -> None:
    model, x = net(), x_of(5, 6)
    expected = plainly(model, x)
    hooked = with_hooks(model)
    assert_features(collect(hooked, x, ["*"]), expected)
    assert len(hooked.second._forward_hooks) == 1


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_agree_within_their_rounding(dtype: torch.dtype) -> None:
    model, x = net().to(dtype), x_of(7, 6).to(dtype)
    rounding = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float64: 1e-12}[dtype]
    found = collect(model, x, ["*"])
    assert all(value.dtype == dtype for value in found.values())
    # some ten operations in a row, each rounded, on values of order one
    assert_features(found, plainly(model, x), rtol=16 * rounding)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rapidities_of_half_precision_features_are_those_of_float64_arithmetic_on_them(
    dtype: torch.dtype,
) -> None:
    model, x, y = net().to(dtype), x_of(12, 6).to(dtype), torch.arange(12) % 3
    noise, adversarial = x + 0.25, x - 0.25
    layers = find_layers(model, x)
    references = wl.trace.trace_reference(model, x, y, layers, classes=3)
    found = wl.trace.trace_twins(model, x, noise, adversarial, y, references, layers)
    features = [collect(model, value, ["*"]) for value in (x, adversarial)]
    for index, layer in enumerate(layers):
        clean, moved = (value[layer.name].double() for value in features)
        origin = clean.mean(0)
        exact = wl.rapidity_of_displacement(clean - origin, moved - clean)
        # float32 products of features that are exact in float32
        torch.testing.assert_close(
            found.rapidity["adversarial_clean"][:, index], exact, rtol=1e-4, atol=1e-4
        )


class Mixed(nn.Module):
    """Single in, double on the way, half out."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8).double(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.double()).relu().float()).half()


@pytest.mark.oracle
def test_features_of_several_precisions_in_one_model() -> None:
    torch.manual_seed(0)
    model, x, y = Mixed(), x_of(9, 6), torch.arange(9) % 3
    story = wl.explain.twins(
        model,
        x,
        x + 0.1,
        y,
        reference=(x, y),
        settings=wl.Settings(bounds=(-9, 9)),
        layers=["*"],
        null=False,
        resamples=5,
    )
    hidden = x.double() @ model.a.weight.T + model.a.bias
    moved = (x + 0.1).double() @ model.a.weight.T + model.a.bias
    exact = wl.rapidity_of_displacement(
        (hidden - hidden.mean(0)).detach(), (moved - hidden).detach()
    )
    place = [layer.name for layer in story.layers].index("a")
    torch.testing.assert_close(
        story.trace.rapidity["adversarial_clean"][:, place], exact, rtol=1e-6, atol=1e-6
    )


@pytest.mark.law
def test_channels_last_gives_the_same_numbers_and_stays(digits) -> None:
    model, x = wl.zoo.load("cnn"), digits.x[:6].repeat(1, 1, 1, 1)
    plain = collect(model, x, ["*"])
    last = x.to(memory_format=torch.channels_last)
    strides = last.stride()
    found = collect(model.to(memory_format=torch.channels_last), last, ["*"])
    assert_features(found, plain)
    assert last.stride() == strides


class Sequence(nn.Module):
    """(T, N, D), PyTorch's default for transformers, with as many tokens as a probe has samples."""

    def __init__(self, tokens: int = 2, batch_first: bool = False) -> None:
        super().__init__()
        self.tokens, self.batch_first = tokens, batch_first
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=batch_first)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(len(x), self.tokens, 4)
        h = self.encoder(x) if self.batch_first else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.head(h.mean(1))


@pytest.mark.oracle
@pytest.mark.parametrize("tokens", [2, 3, 5])
def test_the_dimension_that_counts_samples_is_found_wherever_it_is(tokens: int) -> None:
    torch.manual_seed(0)
    second = Sequence(tokens).eval()
    torch.manual_seed(0)
    first = Sequence(tokens, batch_first=True).eval()
    x = x_of(7, 4 * tokens)
    found, expected = (
        collect(model, x, ["encoder*"], batch_size=tokens) for model in (second, first)
    )
    assert "encoder.linear1" in expected
    assert_features(found, expected)
    with torch.no_grad():
        attended = first.encoder.norm1(
            x.view(7, tokens, 4) + first.encoder.self_attn(*[x.view(7, tokens, 4)] * 3)[0]
        )
        known = first.encoder.linear1(attended)
    torch.testing.assert_close(found["encoder.linear1"], known.flatten(1))
    narrow = collect(
        second, x, ["encoder.norm2"]
    )  # the fused path of PyTorch would skip what is inside
    torch.testing.assert_close(narrow["encoder.norm2"], expected["encoder.norm2"])


@pytest.mark.oracle
def test_tokens_are_flattened_or_reduced_as_stated() -> None:
    torch.manual_seed(0)
    model, x = Sequence(5, batch_first=True).eval(), x_of(7, 20)
    with torch.no_grad():
        value = model.encoder(x.view(7, 5, 4))
    for reduction, expected in (
        ("flatten", value.flatten(1)),
        ("cls", value[:, 0]),
        ("mean", value.mean(1)),
    ):
        torch.testing.assert_close(
            collect(model, x, ["encoder.norm2"], tokens=reduction)["encoder.norm2"], expected
        )
        layer = pick_layers(model, x, ["encoder.norm2"], tokens=reduction)[0]
        assert (layer.reduction, layer.width) == (reduction, expected.shape[1])
    each = collect(model, x, ["encoder.norm2@*"], tokens="token")
    assert_features(each, {f"encoder.norm2@{token}": value[:, token] for token in range(5)})
    assert pick_layers(model, x, ["head"])[0].reduction is None
    with pytest.raises(
        UsageError,
        match="Unknown reduction of tokens 'max'; choose one of flatten, cls, mean, token",
    ):
        find_layers(model, x, tokens="max")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, weights = self.attention(x, x, x)
        return self.head(values[:, 0]), weights


@pytest.mark.oracle
def test_attention_returns_a_pair_whose_values_are_the_layer() -> None:
    torch.manual_seed(0)
    model, x = Attention(), x_of(5, 3, 4)
    queries, keys, values = (
        (x @ part.T + bias).view(5, 3, 2, 2).transpose(1, 2)
        for part, bias in zip(
            model.attention.in_proj_weight.chunk(3),
            model.attention.in_proj_bias.chunk(3),
            strict=True,
        )
    )
    mixed = ((queries @ keys.mT / 2**0.5).softmax(-1) @ values).transpose(1, 2).reshape(5, 3, 4)
    expected = mixed @ model.attention.out_proj.weight.T + model.attention.out_proj.bias
    torch.testing.assert_close(
        collect(model, x, ["attention"])["attention"], expected.detach().flatten(1)
    )
    story = wl.explain.twins(
        model,
        x,
        x + 0.1,
        torch.tensor([0, 1, 2, 0, 1]),
        settings=wl.Settings(bounds=(-9, 9)),
        resamples=5,
    )
    assert story.layers[-1].name == "head"


@dataclass
class Answer:
    loss: Tensor
    scores: Tensor


@dataclass
class Labelled:
    features: Tensor
    logits: Tensor


OUTPUTS: dict[str, Callable[[Tensor], object]] = {
    "tuple": lambda scores: (scores, torch.zeros(())),
    "list with labels": lambda scores: [scores.argmax(1), scores],
    "dict": lambda scores: {"loss": torch.zeros(()), "anything": scores},
    "dict with logits": lambda scores: {"features": torch.zeros(len(scores), 5), "logits": scores},
    "dataclass": lambda scores: Answer(torch.zeros(()), scores),
    "dataclass with logits": lambda scores: Labelled(torch.zeros(len(scores), 5), scores),
    "the same twice": lambda scores: (scores, scores),
}


class Returns(nn.Module):
    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.body, self.make = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), make

    def forward(self, x: Tensor) -> object:
        return self.make(self.body(x))


@pytest.mark.oracle
@pytest.mark.parametrize("kind", OUTPUTS)
def test_logits_are_found_in_what_the_model_returns(kind: str) -> None:
    torch.manual_seed(0)
    model, x, y = Returns(OUTPUTS[kind]), x_of(9, 6), torch.arange(9) % 3
    torch.testing.assert_close(wl.attacks.predict(model, x), model.body(x).detach())
    found = wl.attacks.PGD(epsilon=0.1, steps=2, bounds=(-9, 9))(model, x, y)
    expected = wl.attacks.PGD(epsilon=0.1, steps=2, bounds=(-9, 9))(model.body, x, y)
    assert torch.equal(found.x, expected.x)
    story = wl.explain.twins(
        model,
        x,
        found.x,
        y,
        reference=(x, y),
        settings=wl.Settings(bounds=(-9, 9)),
        null=False,
        resamples=5,
    )
    assert torch.equal(story.trace.predictions["clean"], model.body(x).argmax(1))


@pytest.mark.message
def test_outputs_without_clear_logits_are_listed() -> None:
    x = x_of(4, 6)
    several = Returns(lambda scores: {"main": scores, "auxiliary": scores + 1})
    words = (
        r"dict with 2 tensors that could be them: dict\['main'\] \(4, 3\) torch\.float32, "
        r"dict\['auxiliary'\] \(4, 3\)"
    )
    with pytest.raises(ModelError, match=words):
        wl.attacks.predict(several, x)
    with pytest.raises(
        ModelError, match=r"returned int with 0 tensors that could be them: no tensor"
    ):
        wl.attacks.predict(Returns(lambda _scores: 3), x)
    with pytest.raises(ModelError, match=r"for 4 inputs it returned \(4, 3, 2\) torch\.float32"):
        wl.attacks.predict(Returns(lambda scores: torch.stack((scores, scores), 2)), x)
    single = find_layers(Returns(lambda scores: scores[:, 0]), x)[-1]
    assert (single.name, single.width, single.default) == ("output", 1, False)


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.join, self.head = Join(), nn.Linear(9, 3)

    def forward(self, x: Tensor, mask: Tensor, *, scale: Tensor) -> Tensor:
        return self.head(self.join(x * mask, {"more": scale * x[:, :3]}))


class Join(nn.Module):
    def forward(self, x: Tensor, others: dict[str, Tensor]) -> Tensor:
        return torch.cat((x, others["more"]), 1)


@pytest.mark.oracle
def test_further_inputs_are_bound_and_submodules_may_take_several() -> None:
    torch.manual_seed(0)
    model, x, mask = Several(), x_of(5, 6), torch.tensor([1.0, 0, 1, 0, 1, 1])
    bound = functools.partial(model, mask=mask, scale=torch.tensor(2.0))
    joined = torch.cat((x * mask, 2 * x[:, :3]), 1)
    found = collect(bound, x, ["*"])
    assert_features(found, {"input": x, "join": joined, "head": model.head(joined).detach()})
    with pytest.raises(
        ShapeError,
        match=r"one floating tensor.*got tuple\. Bind further inputs with functools\.partial",
    ):
        find_layers(model, (x, mask))


PARAMETRISED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "weight_norm by hook": nn.utils.weight_norm,
    "spectral_norm by hook": nn.utils.spectral_norm,
}


@pytest.mark.oracle
@pytest.mark.parametrize("kind", PARAMETRISED)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_parametrised_weights_are_those_of_eval_mode_and_stay(kind: str) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), x_of(5, 6)
    PARAMETRISED[kind](model[0])
    model.eval()(x)
    weight = model[0].weight.detach().clone()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = collect(model, x, ["0"])["0"]
    torch.testing.assert_close(found, (x @ weight.T + model[0].bias).detach())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    story = wl.explain.twins(
        model,
        x,
        x + 1,
        torch.arange(5) % 3,
        reference=(x, torch.arange(5) % 3),
        settings=wl.Settings(bounds=(-9, 9)),
        resamples=5,
    )
    notes = " ".join(story.notes)  # the untrained network would silently keep the trained weight
    assert "keeps the trained values of 0" in notes or "cannot be copied" in notes


class Odd(nn.Module):
    """Called never, many times, under two names; odd values; its input overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.never, self.turn = nn.Linear(6, 6), nn.Linear(6, 6)
        self.steps = nn.ModuleList([self.turn, self.turn])
        self.ids, self.waves, self.nothing, self.empty = Ids(), Waves(), Nothing(), Empty()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x.sub_(0.5)
        for step in self.steps:
            x = step(x)
        self.ids(x), self.nothing(x), self.empty(x)
        return self.head(x + self.waves(x).real.repeat(1, 2)[:, :6])


class Ids(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1, keepdim=True)


class Waves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> str:
        return "nothing"


class Empty(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :0]


@pytest.mark.oracle
def test_odd_modules_are_left_out_or_read_right() -> None:
    torch.manual_seed(0)
    model, x = Odd(), x_of(5, 6)
    given = x.clone()
    found = collect(model, x, ["*"])
    assert torch.equal(x, given)
    with torch.no_grad():
        one = model.turn(x - 0.5)
        two = model.turn(one)
        waves = torch.fft.rfft(two)
        both = two + waves.real.repeat(1, 2)[:, :6]
        head = model.head(both)
    assert_features(
        found,
        {
            "input": x,
            "turn#0": one,
            "turn#1": two,
            "waves": torch.view_as_real(waves).flatten(1),
            "head.input": both,
            "head": head,
        },
    )
    assert list(collect(model, x, ["steps.1"])) == ["turn#0", "turn#1"]
    attacked = wl.attacks.PGD(epsilon=0.1, steps=2, bounds=(-9, 9))(
        model, x, torch.zeros(5, dtype=torch.long)
    )
    assert torch.equal(x, given)
    assert float((attacked.x - x).abs().max()) <= 0.1 + 1e-6


@pytest.mark.message
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("never", "'never' exists but never ran in the forward pass"),
        ("ids", r"'ids' is no value of its own: for 3 inputs it returned \(3, 1\) torch.int64"),
        ("nothing", "'nothing' is no value of its own: for 3 inputs it returned str"),
        ("empty", r"'empty' is no value of its own: for 3 inputs it returned \(3, 0\)"),
        ("absent", "No layer matches 'absent'. The layers that ran, in order: input, turn#0"),
    ],
)
def test_a_module_that_is_no_layer_says_why(name: str, words: str) -> None:
    torch.manual_seed(0)
    for ask in (
        lambda: collect(Odd(), x_of(4, 6), [name]),
        lambda: one_layer(Odd(), x_of(4, 6), name),
    ):
        with pytest.raises(LayerError, match=words):
            ask()


@pytest.mark.message
def test_token_numbers_and_lazy_modules_are_refused() -> None:
    words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(
        ShapeError, match=r"got \(4, 3\) torch\.int64.*for token numbers, pass their embeddings"
    ):
        find_layers(words, torch.zeros(4, 3, dtype=torch.long))
    with pytest.raises(
        ModelError, match=r"lazy module whose parameters have no shape yet\. Run it once"
    ):
        find_layers(nn.LazyLinear(3), x_of(4, 6))


class Wavering(nn.Module):
    """Its way depends on the data: how often a module runs, whether, and what shape comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.turn, self.rare, self.cut, self.head = (
            nn.Linear(6, 6),
            nn.Linear(6, 6),
            Cut(),
            nn.Linear(1, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(1 + int(x.mean() > 5) + int(x.mean() > 15)):
            x = self.turn(x)
        x = self.rare(x) if float(x.abs().sum()) < 1e9 else x
        return self.head(self.cut(x).mean(1, keepdim=True))


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :4] if float(x.abs().max()) < 50 else x[:, :5]


@pytest.mark.message
def test_a_way_that_depends_on_the_batch_is_refused_with_layer_and_batch() -> None:
    torch.manual_seed(0)
    model, small = Wavering(), x_of(4, 6)
    layers = find_layers(model, small)
    big, huge = torch.full((4, 6), 10.0), torch.full((4, 6), 1e12)

    def second(names: list[str], x: Tensor) -> None:
        chosen = [layer for layer in layers if layer.name in names]
        with tracing(model, chosen) as run:
            run(small, lambda _position, _features: None)
            run(x, lambda _position, _features: None)

    with pytest.raises(
        LayerError, match=r"layer 'turn' ran 2 times in batch 2, and 1 times when it was found"
    ):
        second(["turn"], big)
    with pytest.raises(
        LayerError,
        match=r"'rare' never ran in this forward pass \(batch 2\); layers that ran: input",
    ):
        second(["input", "rare"], huge)
    with pytest.raises(
        LayerError,
        match=r"In batch 2: Layer 'cut' returned \(4, 5\) for this batch of 4 samples, and \(4,\)",
    ):
        second(["cut"], huge)
    second(["input", "head"], big)  # what every input passes alike is right all the same


@pytest.mark.oracle
def test_decorated_forwards_and_tied_weights() -> None:
    class Still(nn.Module):
        def __init__(
            self, decorate: Callable[[Callable[..., Tensor]], Callable[..., Tensor]]
        ) -> None:
            super().__init__()
            self.a, self.act, self.b = nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 6)
            self.b.weight = self.a.weight
            self.run = decorate(self.plain)

        def plain(self, x: Tensor) -> Tensor:
            return self.b(self.act(self.a(x)))

        def forward(self, x: Tensor) -> Tensor:
            return self.run(x)

    torch.manual_seed(0)
    x = x_of(5, 6)
    for decorate in (torch.no_grad(), torch.inference_mode()):
        model = Still(decorate)
        first = (x @ model.a.weight.T + model.a.bias).detach()
        last = (first.relu() @ model.a.weight.T + model.b.bias).detach()
        assert_features(
            collect(model, x, ["*"]), {"input": x, "a": first, "act": first.relu(), "b": last}
        )


@pytest.mark.oracle
def test_a_parametrised_module_has_its_parametrisation_as_a_layer_only_if_it_is_by_sample() -> None:
    class Symmetric(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight.triu() + weight.triu(1).mT

    model, x = (
        nn.Sequential(nn.Linear(3, 3), nn.ReLU()),
        x_of(3, 3),
    )  # as many rows as a probe has samples
    parametrize.register_parametrization(model[0], "weight", Symmetric())
    assert [layer.name for layer in find_layers(model, x)] == ["input", "0", "1"]


@pytest.mark.law
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_one_logit_is_the_log_odds_of_class_1(shape: tuple[int, ...]) -> None:
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = wl.trace.logits_in(z, 5)
    assert torch.allclose(logits.softmax(1)[:, 1], z.flatten().sigmoid(), atol=1e-15)
    loss = torch.nn.functional.cross_entropy(logits, torch.ones(5, dtype=torch.long))
    binary = torch.nn.functional.binary_cross_entropy_with_logits(
        z.flatten(), torch.ones(5).double()
    )
    assert torch.allclose(loss, binary, atol=1e-15)
