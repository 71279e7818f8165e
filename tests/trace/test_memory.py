"""Within memory: the projection and its standard error, the plan, and what a trace takes."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

import worldline as wl
from worldline.commands.explore.config import ExploreConfig
from worldline.errors import UsageError
from worldline.runs.config import parse_size
from worldline.trace import Sketch, find_layers, plan_memory, trace_reference, trace_twins

WIDTH, DRAWS = 64, 3000


def maps(seed: int) -> Tensor:
    """Two features as networks have them, (2, D): smooth, non-negative maps, some much stronger."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 12, 16, 16, generator=generator)
    noise[1] = 0.6 * noise[0] + 0.8 * noise[1]
    smooth = nn.functional.avg_pool2d(noise, 5, 1, 2).relu()
    strength = torch.rand(12, 1, 1, generator=generator) ** 3
    return (smooth * strength).flatten(1).double()


def spiky(_seed: int) -> Tensor:
    """Nearly all of the energy in one block."""
    x = torch.randn(2, 1000, generator=torch.Generator().manual_seed(5)).double() / 30
    x[:, 130:140] += torch.tensor([[1.0], [0.5]])
    return x


def blocks(x: Tensor, width: int) -> Tensor:
    return nn.functional.pad(x, (0, -x.shape[1] % width)).view(len(x), -1, width)  # (2, P, m)


def draws(x: Tensor, width: int = WIDTH) -> Tensor:
    """Sketches of both for many seeds, (draws, 2, m)."""
    return torch.stack(
        [
            Sketch.draw(x.shape[1], width, torch.Generator().manual_seed(seed))(x)
            for seed in range(DRAWS)
        ]
    )


@pytest.mark.oracle
@pytest.mark.parametrize("features", [1, 5, 64, 65, 200])
def test_a_sketch_is_the_matrix_of_its_definition(features: int) -> None:
    sketch = Sketch.draw(features, 64, torch.Generator().manual_seed(3))
    matrix = torch.zeros(64, features)
    for place in range(features):
        block, inside = divmod(place, 64)
        matrix[(inside + sketch.shifts[block]) % 64, place] = sketch.signs[place]
    x = torch.randn(3, features, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sketch(x), x @ matrix.T)


@pytest.mark.law
@pytest.mark.parametrize("make", [maps, spiky])
def test_inner_products_are_kept_on_average_with_the_variance_that_was_derived(make) -> None:
    x = make(0)
    products = (sketched := draws(x))[:, 0].mul(sketched[:, 1]).sum(1)
    first, second = blocks(x, WIDTH)
    sizes, others, along = first.square().sum(1), second.square().sum(1), (first * second).sum(1)
    variance = (
        sizes.sum() * others.sum() + along.sum() ** 2 - (sizes * others + along**2).sum()
    ) / WIDTH
    error = math.sqrt(float(variance) / DRAWS)
    assert abs(float(products.mean() - x[0] @ x[1])) < 4 * error
    # the sample variance of 3,000 draws: about 4 % with tails a little heavier than normal
    assert float(products.var() / variance) == pytest.approx(1, abs=0.15)


@pytest.mark.law
@pytest.mark.parametrize("seed", range(3))
def test_z_scores_of_projected_rapidities_have_mean_zero_and_variance_one(seed: int) -> None:
    """At m = 256, to first order in 1/√m; the bound is the variance but for what is in blocks."""
    width, x = 256, maps(seed)
    exact = float(wl.rapidity(x[:1], x[1:]))
    sketched = draws(x, width)
    scores = (wl.rapidity(sketched[:, 0], sketched[:, 1]) - exact) * math.sqrt(width)
    unit = x / torch.linalg.vector_norm(x, dim=1, keepdim=True)
    rho = float(unit[0] @ unit[1])
    first, second = blocks(unit, width)
    form = (first[:, :, None] * second[:, None] + second[:, :, None] * first[:, None]) / 2
    form -= rho / 2 * (first[:, :, None] * first[:, None] + second[:, :, None] * second[:, None])
    share = (
        1 - 2 * float(form.square().sum()) / (1 - rho**2) ** 2
    )  # of the variance, that is not within blocks
    assert 0.5 < share <= 1
    bias = 1 / math.sqrt(width)  # of second order
    assert abs(float(scores.mean())) < 4 / math.sqrt(DRAWS) + bias
    assert float((scores / math.sqrt(share)).var()) == pytest.approx(1, abs=0.12)
    assert float(scores.var()) < 1.05


@pytest.mark.law
def test_projection_touches_class_means_alone_and_by_no_more_than_it_says(digits) -> None:
    model = wl.zoo.load("cnn")
    x, y = digits.x[:60], digits.y[:60]
    noise, adversarial = 0.8 * x, (x + 0.1).clamp(max=1)
    layers = find_layers(model, x)

    def trace(project_to: int | None, seed: int) -> wl.trace.TwinTrace:
        references = trace_reference(
            model,
            digits.reference_x,
            digits.reference_y,
            layers,
            classes=10,
            project_to=project_to,
            settings=wl.Settings(seed=seed),
        )
        return trace_twins(model, x, noise, adversarial, y, references, layers)

    exact, found = trace(None, 0), [trace(512, seed) for seed in range(8)]
    widths = [512 if layer.width > 512 else None for layer in layers]
    assert list(found[0].projected_to) == widths
    assert 3 <= sum(width is not None for width in widths) < len(widths)
    wide = torch.tensor([width is not None for width in widths])
    for name, value in exact.rapidity.items():
        values = torch.stack([trace.rapidity[name] for trace in found])
        if name in ("adversarial_clean", "noise_clean"):
            # the origin is summed in another order
            torch.testing.assert_close(values[0], value, rtol=1e-5, atol=0)
            continue
        torch.testing.assert_close(values[0][:, ~wide], value[:, ~wide])
        scores = (values - value)[:, :, wide] * math.sqrt(512)
        # 8 seeds, whose errors the samples of a layer share
        assert 0.3 < float(scores.square().mean()) < 1.5


@pytest.mark.law
def test_a_plan_says_what_a_pass_takes_and_projects_only_where_it_must() -> None:
    model, x = (
        nn.Sequential(nn.Linear(100, 5000), nn.ReLU(inplace=True), nn.Linear(5000, 3)),
        torch.rand(4, 100),
    )
    layers = find_layers(model, x)
    plan = plan_memory(model, x, layers, classes=100, memory=10**9)
    # of 4-byte numbers: the copy of the input, the wide value, and the visitor's copy of it
    assert plan.bytes_an_input == 4 * (100 + 5000 + 5000)
    assert (plan.batch_size, plan.project_to) == (256, None)
    tight = plan_memory(model, x, layers, classes=100, memory=10**7)
    assert tight.project_to in (512, 1024, 2048)
    assert tight.batch_size % 3 == 0
    assert plan_memory(model, x, layers, classes=100, memory=None) == wl.trace.Plan(256, None, 0, 0)


@pytest.mark.message
def test_too_little_memory_says_how_much_would_do() -> None:
    model, x = nn.Linear(1000, 1000), torch.rand(4, 1000)
    layers = find_layers(model, x)
    with pytest.raises(
        UsageError,
        match=r"^1,000,000 bytes of memory are too few: .* twins take \d,\d{3},\d{3}\. Allow more",
    ) as caught:
        plan_memory(model, x, layers, classes=10, memory=10**6)
    least = int(str(caught.value).split(" take ")[1].split(". ")[0].replace(",", ""))
    assert plan_memory(model, x, layers, classes=10, memory=least + 10**5).batch_size >= 3


@pytest.mark.message
@pytest.mark.parametrize(
    "text", ["2", "GB", "two GB", "-2GB", "0MB", "2XB", "1e9B", "2 G B", "nanGB", "9" * 40 + "GB"]
)
def test_a_memory_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError,
        match=r"--memory must be a size with its unit, such as 2GB, 500MB or 1\.5GiB; got ",
    ):
        ExploreConfig(memory=text)


@pytest.mark.law
def test_sizes_are_read_with_their_units() -> None:
    sizes = {
        "2GB": 2 * 10**9,
        "500MB": 5 * 10**8,
        "1.5GiB": 3 * 2**29,
        " 64 kb ": 64_000,
        "1TiB": 2**40,
        "8B": 8,
    }
    assert {text: parse_size(text, "--memory") for text in sizes} == sizes
    assert ExploreConfig().bytes_of_memory is None


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.act, self.pool = (
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
        )
        self.head = nn.Linear(512, 50)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.act(self.wide(x))).flatten(1))


PEAK = """
import importlib.util, sys, torch
import worldline as wl
specification = importlib.util.spec_from_file_location("tests_memory", sys.argv[1])
module = importlib.util.module_from_spec(specification)
specification.loader.exec_module(module)
torch.set_num_threads(1)
torch.manual_seed(0)
model, limit = module.Wide().eval(), int(sys.argv[2])
x, y = torch.rand(100, 3, 64, 64), torch.arange(100) % 50
def tell(x, memory):
    adversarial = (x + 0.03).clamp(max=1)
    return wl.explain.twins(
        model, x, adversarial, y, reference=(x, y), layers=["*"], memory=memory, null=False,
        resamples=5,
    )
tell(x[:, :, :8, :8], limit)  # load what the libraries load at their first use
def resident(kind):
    return int(open("/proc/self/status").read().split(kind + ":")[1].split()[0]) * 1024
before = resident("VmRSS")
story = tell(x, limit)
print(story.plan, file=sys.stderr)
layer = story.layers[1]
print(resident("VmHWM") - before, story.plan.project_to, layer.projected_to,
      layer.projection_standard_error)
"""


@pytest.mark.law
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_the_peak_stays_within_the_memory_that_was_allowed() -> None:
    """Exact class means of the wide layers would take 157 MB, and a batch of 255 inputs 270 MB."""
    limit = 100_000_000
    command = [sys.executable, "-c", PEAK, __file__, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, width, layer, error = done.stdout.split()
    assert int(peak) < limit
    assert width == layer
    assert float(error) == pytest.approx(int(width) ** -0.5)
