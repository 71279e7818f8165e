"""Every public function that takes a model leaves the model and the process as they were.

``USES`` has an entry for every public function of the rooms below whose arguments include a model;
a new one without an entry fails ``test_every_public_function_that_takes_a_model_is_used_here``. To
add one: ``"room.name": lambda model, x, y: …``, small.
"""

from __future__ import annotations

import functools
import inspect
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import worldline as wl
from worldline.errors import ModelError, WorldlineError

ROOMS = ("trace", "attacks", "checks", "explain", "compare")
WIDE = (-99.0, 99.0)
WIDELY = wl.Settings(bounds=WIDE)
Use = Callable[[Any, Tensor, Tensor], object]


def _layers(model: Any, x: Tensor) -> tuple[wl.trace.Layer, ...]:
    return wl.trace.find_layers(model, x)


def _reference(model: Any, x: Tensor, y: Tensor) -> tuple[wl.trace.Reference, ...]:
    return wl.trace.trace_reference(model, x, y, _layers(model, x), classes=3)


def _run(model: Any, x: Tensor, y: Tensor) -> None:
    with wl.trace.tracing(model, _layers(model, x)) as run:
        run(x, lambda _position, _features: None)


def _read(model: Any, x: Tensor, y: Tensor) -> None:
    with wl.trace.reading(model, wl.trace.one_layer(model, x)) as read:
        read(x.clone().requires_grad_(True))[0].sum().backward()


def _patched(model: Any, x: Tensor, y: Tensor) -> None:
    with wl.explain.patched(model, x + 1, "input", 0, by="auto") as run:
        run(x.clone().requires_grad_(True)).sum().backward()


def _carriers(model: Any, x: Tensor, y: Tensor) -> wl.explain.Carriers:
    """Of twins that are fooled: samples that the model answers otherwise."""
    answers = wl.attacks.predict(model, x).argmax(1)
    order = answers.argsort()
    some = {"memory": 10**9, "resamples": 5, "exact": True, "path": True, "shares": (0.5,)}
    return wl.explain.carriers(
        model, x[order], x[order.flip(0)], answers[order], settings=WIDELY, **some
    )


def _pair_carriers(model: Any, x: Tensor, y: Tensor) -> None:
    found = _carriers(model, x, y)
    order = wl.attacks.predict(model, x).argmax(1).argsort()
    pair = int(found.true[0]), int(found.wrong[0])
    wl.explain.pair_carriers(
        model, x[order], x[order.flip(0)], found, "input", pairs=[pair], resamples=5
    )


def _within(model: Any, x: Tensor, y: Tensor) -> None:
    with wl.trace.untouched(model):
        careless(model, x, y)


def careless(model: Any, x: Tensor, y: Tensor) -> Tensor:
    """An attack that does everything that it should not."""
    for module in wl.trace.modules_behind(model):
        module.train()
        module.register_forward_hook(lambda *_: None)
        for parameter in module.parameters():
            parameter.requires_grad_(True)
    torch.manual_seed(3)
    np.random.seed(3)
    torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)
    nn.functional.cross_entropy(wl.trace.logits_in(model(x.clone()), len(x)), y).backward()
    with torch.no_grad():
        for module in wl.trace.modules_behind(model):
            for parameter in module.parameters():
                parameter.add_(1)
    return x + 0.1


PGD = wl.attacks.PGD(epsilon=0.1, steps=2, bounds=WIDE)
USES: dict[str, Use] = {
    "trace.collect": lambda model, x, y: wl.trace.collect(model, x, ["*"], batch_size=5),
    "trace.find_layers": lambda model, x, y: wl.trace.find_layers(model, x),
    "trace.fit_frames": lambda model, x, y: wl.trace.fit_frames(
        model, x, _layers(model, x), batch_size=5
    ),
    "trace.hidden_because": lambda model, x, y: wl.trace.hidden_because(model),
    "trace.modules_behind": lambda model, x, y: wl.trace.modules_behind(model),
    "trace.one_layer": lambda model, x, y: wl.trace.one_layer(model, x, "input"),
    "trace.passed_by": lambda model, x, y: wl.trace.passed_by(model, x, _layers(model, x)),
    "trace.pick_layers": lambda model, x, y: wl.trace.pick_layers(model, x, ["*"], tokens="mean"),
    "trace.plan_memory": lambda model, x, y: wl.trace.plan_memory(
        model, x, _layers(model, x), classes=3, memory=10**9
    ),
    "trace.reading": _read,
    "trace.trace_pairs": lambda model, x, y: wl.trace.trace_pairs(
        model, x, y, y + 3, [wl.geometry.Frame("raw")] * len(_layers(model, x)), _layers(model, x)
    ),
    "trace.trace_reference": _reference,
    "trace.trace_twins": lambda model, x, y: wl.trace.trace_twins(
        model, x, x + 1, x - 1, y, _reference(model, x, y), _layers(model, x), batch_size=7
    ),
    "trace.tracing": _run,
    "trace.untouched": _within,
    "attacks.APGD": wl.attacks.APGD(epsilon=0.1, steps=2, bounds=WIDE),
    "attacks.AutoAttack": lambda model, x, y: wl.attacks.AutoAttack(
        epsilon=0.1, version="rand", bounds=WIDE
    )(nn.Sequential(nn.Flatten(), getattr(model, "func", model)), x[:2].view(2, 1, 2, 3), y[:2]),
    "attacks.Descent": PGD,
    "attacks.FGSM": wl.attacks.FGSM(epsilon=0.1, bounds=WIDE),
    "attacks.PGD": PGD,
    "attacks.Square": wl.attacks.Square(epsilon=0.1, queries=2, bounds=WIDE),
    "attacks.WorstCase": wl.attacks.WorstCase([PGD, careless]),
    "attacks.adversarial_twin": lambda model, x, y: wl.attacks.adversarial_twin(
        careless, model, x, y
    ),
    "attacks.FMN": wl.attacks.FMN(steps=3, bounds=WIDE),
    "attacks.gradient_problem": wl.attacks.gradient_problem,
    "attacks.smallest_change": lambda model, x, y: wl.attacks.smallest_change(
        model, x, y, steps=3, settings=wl.Settings(bounds=WIDE)
    ),
    "attacks.entangle": lambda model, x, y: wl.attacks.entangle(
        model, x[:3], x[3:6], reference=(x, y), settings=WIDELY, steps=1
    ),
    "attacks.invariance": lambda model, x, y: wl.attacks.invariance(
        model, x[:3], reference=(x, y), settings=WIDELY, steps=1
    ),
    "attacks.predict": lambda model, x, y: wl.attacks.predict(model, x),
    "attacks.separate": lambda model, x, y: wl.attacks.separate(
        model, x[:3], reference=(x, y), epsilon=0.1, settings=WIDELY, steps=1
    ),
    "checks.accuracy_curve": lambda model, x, y: wl.checks.accuracy_curve(
        model, x, y, attack=PGD, epsilons=(0.0, 0.1)
    ),
    "checks.check_evaluation": lambda model, x, y: wl.checks.check_evaluation(
        model,
        x,
        x,
        x,
        y,
        attack=PGD,
        epsilon=0.1,
        settings=WIDELY,
        samples=6,
        thorough=True,
        reference=x,
        queries=2,
    ),
    "checks.check_model": lambda model, x, y: wl.checks.check_model(model, x, y, bounds=WIDE),
    "checks.fit_standin": lambda model, x, y: wl.checks.fit_standin(model, x),
    "checks.plant_and_attack": lambda model, x, y: wl.checks.plant_and_attack(
        model, x, attack=PGD, epsilon=0.1, samples=2, inner=9, trials=2, settings=WIDELY
    ),
    "trace.unseen_layers": lambda model, x, y: wl.trace.unseen_layers(model, x),
    "explain.carriers": _carriers,
    "explain.pair_carriers": _pair_carriers,
    "explain.patch": lambda model, x, y: wl.explain.patch(model, x, x + 1, "input", 0, by="auto"),
    "explain.patched": _patched,
    "explain.complexity": lambda model, x, y: wl.explain.complexity(
        model, x, y=y, adversarial=x + 0.1, settings=WIDELY, strangers=10, resamples=5
    ),
    "explain.distant": lambda model, x, y: wl.explain.distant(model, x, y, k=2, nulls=0, pool=50),
    "explain.fragility": lambda model, x, y: wl.explain.fragility(
        model, x, probe="aimed", settings=WIDELY, resamples=5
    ),
    "explain.jacobian_spectrum": lambda model, x, y: wl.explain.jacobian_spectrum(model, x[:4]),
    "explain.twins": lambda model, x, y: wl.explain.twins(
        model, x, x + 0.1, y, reference=(x, y), settings=WIDELY, resamples=5, memory=10**9
    ),
    "explain.untrained": lambda model, x, y: (
        wl.explain.untrained(model) if isinstance(model, nn.Module) else None
    ),
    "compare.baselines": lambda model, x, y: wl.compare.baselines(
        _two(model), x, y, settings=WIDELY
    ),
    "compare.measure": lambda model, x, y: wl.compare.measure(
        _two(model), x, y, PGD, settings=WIDELY, resamples=5
    ),
    "compare.predict": lambda model, x, y: wl.compare.predict(
        _two(model), x, settings=WIDELY, samples=2, probes=2
    ),
    "compare.surrogate": lambda model, x, y: wl.compare.surrogate(
        model, _two(model), x, settings=WIDELY, samples=2, probes=2
    ),
}


torch.manual_seed(1)
OTHER = nn.Linear(6, 3)


def _two(model: Any) -> dict[str, Any]:
    return {"given": model, "other": OTHER}


def takes_a_model(function: object) -> bool:
    """Whether an argument of the call, or of what calling a class makes, is a model or several."""
    if not callable(function) or (isinstance(function, type) and "__call__" not in vars(function)):
        parent = isinstance(function, type) and any(
            "__call__" in vars(base) for base in function.__mro__[:-1]
        )
        if not parent:
            return False
    call = function.__call__ if isinstance(function, type) else function
    try:
        parameters = inspect.signature(call).parameters.items()
    except (TypeError, ValueError):
        return False
    return any(
        name in ("model", "models", "target") and value.annotation != "str"
        for name, value in parameters
    )


@pytest.mark.law
def test_every_public_function_that_takes_a_model_is_used_here() -> None:
    found = {
        f"{room}.{name}"
        for room in ROOMS
        for name in getattr(wl, room).__all__
        if takes_a_model(getattr(getattr(wl, room), name))
    }
    assert {"attacks.PGD", "explain.twins", "compare.predict", "trace.tracing"} <= found
    assert found == set(USES), "give every public function that takes a model an entry in USES"


class Restless(nn.Module):
    """What a forward pass can disturb: statistics, counters, lists, random numbers, its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.first, self.act = (
            nn.BatchNorm1d(6),
            nn.Dropout(0.5),
            nn.Linear(6, 8),
            nn.ReLU(inplace=True),
        )
        self.out = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(2))
        self.count, self.seen, self.kept = 0, [1], {"last": None}
        self.loose = torch.zeros(2)
        self.generator, self.numpy, self.python = (
            torch.Generator(),
            np.random.default_rng(0),
            random.Random(0),
        )

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.replaced, self.new = torch.ones(2), 3
        self.count += 1
        self.seen.append(len(x))
        self.kept["last"] = x
        self.loose += 1
        with torch.no_grad():
            self.out.bias.add_(0.25)
        random.random()
        np.random.rand()
        noise = torch.randn(()) + torch.rand((), generator=self.generator)
        noise = noise + self.numpy.random() + self.python.random()
        x.sub_(0.5)
        return self.out(self.act(self.first(self.drop(self.norm(x))))) + 0 * noise

    def contents(self) -> str:
        """All that is no tensor."""
        random_states = (
            self.generator.get_state().tolist(),
            self.numpy.bit_generator.state,
            self.python.getstate(),
        )
        return repr((self.count, self.seen, self.kept, random_states))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(2, 1, 4)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        tokens = self.encoder(x.view(len(x), 3, 2).transpose(0, 1)).transpose(0, 1)
        return {"tokens": tokens, "logits": self.head(tokens.flatten(1))}


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Dropout(), nn.BatchNorm1d(8), nn.Linear(8, 3)
    )


SHAPES: dict[str, Callable[[], Any]] = {
    "restless": Restless,
    "restless in DataParallel": lambda: nn.DataParallel(Restless()),
    "a partial of restless": lambda: functools.partial(Restless()),
    "tokens": Tokens,
    "weight norm": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3)
    ),
    "half frozen": lambda: plain().requires_grad_(False),
}


def state(model: Any, *inputs: Tensor) -> dict[str, object]:
    """Everything that could have changed, in values that compare."""
    modules = [module for root in wl.trace.modules_behind(model) for module in root.modules()]
    tensors = [
        value
        for module in modules
        for value in (*module._parameters.values(), *module._buffers.values())
    ]
    tensors += [
        value for module in modules for value in vars(module).values() if isinstance(value, Tensor)
    ]
    tensors = [value for value in (*tensors, *inputs) if value is not None]
    hooks = [name for name in vars(modules[0]) if "hook" in name] if modules else []
    return {
        "tensors": [
            (id(value), value.data_ptr(), value.detach().numpy().tobytes()) for value in tensors
        ],
        "requires_grad": [value.requires_grad for value in tensors],
        "gradients": [
            (id(value.grad), value.grad.numpy().tobytes())
            for value in tensors
            if value.is_leaf and value.grad is not None
        ],
        "modes": [module.training for module in modules],
        "hooks": [repr(vars(module)[name]) for module in modules for name in hooks],
        "attributes": [
            sorted((name, id(value)) for name, value in vars(module).items() if name != "count")
            for module in modules
        ],
        "contents": [module.contents() for module in modules if isinstance(module, Restless)],
        "python": random.getstate(),
        "numpy": repr(np.random.get_state()),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "settings": (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_deterministic_debug_mode(),
            torch.backends.mha.get_fastpath_enabled(),
            len(nn.modules.module._global_forward_hooks),
        ),
    }


def assert_as_it_was(before: dict[str, object], after: dict[str, object]) -> None:
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"changed: {', '.join(changed)}"


class Stop(KeyboardInterrupt):
    """An interrupt of ours."""


class Failure:
    """Raises at one moment: at the n-th call of a module, or the n-th line of worldline's code."""

    def __init__(self, where: str, moment: int, error: type[BaseException]) -> None:
        self.where, self.moment, self.error = where, moment, error
        self.count = 0

    def step(self) -> None:
        self.count += 1
        if self.count == self.moment:
            raise self.error("on purpose")

    @contextmanager
    def at_work(self, model: Any) -> Iterator[None]:
        modules = [module for root in wl.trace.modules_behind(model) for module in root.modules()]
        handles = []
        if self.where == "module":
            handles = [
                module.register_forward_pre_hook(lambda *_: self.step()) for module in modules
            ]
        if self.where == "line":
            sys.settrace(self.trace)
        try:
            yield
        finally:
            sys.settrace(None)
            for handle in handles:
                handle.remove()

    def trace(self, frame: Any, event: str, _argument: object) -> Any:
        if "/worldline/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.step()
        return self.trace


def prepared(shape: str) -> tuple[Any, Tensor, Tensor]:
    torch.manual_seed(0)
    model = SHAPES[shape]()
    x, y = torch.randn(30, 6), torch.arange(30) % 3
    root = wl.trace.modules_behind(model)[0]
    root.train()
    next(iter(root.children())).eval()
    found = wl.trace.logits_in(model(x.clone()), len(x)).sum()
    if found.requires_grad:
        found.backward()
    next(iter(root.children())).register_forward_hook(lambda *_: None)
    return model, x, y


def use_and_compare(name: str, shape: str, failure: Failure) -> None:
    model, x, y = prepared(shape)
    before = state(model, x, y)
    try:
        with failure.at_work(model):
            USES[name](model, x, y)
    except WorldlineError:
        if failure.where == "nowhere":
            raise
    except (RuntimeError, Stop) as error:
        if not 0 < failure.moment <= failure.count:  # no failure of ours
            raise
        error.__traceback__ = None
    assert_as_it_was(before, state(model, x, y))


@pytest.mark.law
@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("shape", ["restless", "tokens"])
def test_the_model_and_the_process_are_left_as_they_were(name: str, shape: str) -> None:
    use_and_compare(name, shape, Failure("nowhere", -1, RuntimeError))


@pytest.mark.law
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(USES)),
    shape=st.sampled_from(sorted(SHAPES)),
    where=st.sampled_from(["module", "line"]),
    moment=st.one_of(st.integers(1, 60), st.integers(1, 3000)),
    error=st.sampled_from([RuntimeError, Stop]),
)
def test_also_after_an_exception_or_an_interrupt_at_a_random_point(
    name: str, shape: str, where: str, moment: int, error: type[BaseException]
) -> None:
    use_and_compare(name, shape, Failure(where, moment, error))


@pytest.mark.message
def test_a_parameter_that_is_written_to_only_now_and_then_is_an_error() -> None:
    class Rarely(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if float(x.max()) > 5:
                self.bias.add_(1)
            return super().forward(x)

    model, x = Rarely(6, 3), torch.zeros(4, 6)
    layers = wl.trace.find_layers(model, x)

    def run(value: Tensor) -> None:
        with wl.trace.tracing(model, layers) as through:
            through(value, lambda _position, _features: None)

    with pytest.raises(
        ModelError,
        match="wrote into its parameters in this pass, and did not when its layers were found",
    ):
        run(x + 9)
    layers, before = wl.trace.find_layers(model, x + 9), model.bias.detach().clone()
    run(x + 9)
    assert torch.equal(model.bias, before)
