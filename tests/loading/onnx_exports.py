"""Graphs as people export them, for the tests of ONNX."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

PICTURE = (3, 12, 12)
SERIES = (7, 5)


class LastStep(nn.Module):
    """A recurrent network and a classifier on its last step."""

    def __init__(self, kind: type[nn.RNNBase], **options: bool | int) -> None:
        super().__init__()
        self.recurrent = kind(SERIES[1], 6, batch_first=True, **options)
        self.head = nn.Linear(12 if options.get("bidirectional") else 6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


class Upsampled(nn.Module):
    """A convolution, larger, and its mean over rows and columns, weighted."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options, self.conv = options, nn.Conv2d(3, 4, 3)
        self.head = nn.LazyLinear(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.interpolate(self.conv(x), **self.options).flatten(1))


class Branching(nn.Module):
    """Control flow that is exported as If."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(PICTURE[0], 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mean((2, 3))
        if x.shape[0] > 100:  # noqa: SIM108
            y = self.head(-x)
        else:
            y = self.head(x)
        return y


def picture_network() -> nn.Module:
    """With BatchNorm that the exporter cannot fold into the convolution, and its own statistics."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Flatten()
    ).append(nn.Linear(100, 4))
    with torch.no_grad():
        model.train()(torch.rand(8, *PICTURE))
    return model.eval()


def exported(
    model: nn.Module,
    sample: tuple[int, ...],
    path: Path,
    *,
    opset: int = 17,
    free: tuple[int, ...] = (0,),
    samples: int = 2,
) -> str:
    """The file that torch.onnx.export writes; ``free`` axes are dynamic."""
    x = torch.rand(samples, *sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch: a newer exporter, batch sizes of an LSTM
        model.eval()(x)
        torch.onnx.export(
            torch.jit.script(model) if isinstance(model, Branching) else model,
            (x,),
            str(path),
            dynamo=False,
            dynamic_axes={"x": {axis: f"axis{axis}" for axis in free}} if free else None,
            input_names=["x"],
            opset_version=opset,
        )
    return str(path)


def quantised(path: str, kind: str, samples: int = 2) -> str:
    """The file with int8 weights and activations: kind is ``dynamic`` or ``qdq``."""
    from onnxruntime import quantization

    to, rows = path.replace(".onnx", f"-{kind}.onnx"), np.random.default_rng(0)

    class Calibration(quantization.CalibrationDataReader):
        left = 3

        def get_next(self) -> dict[str, np.ndarray] | None:
            self.left -= 1
            batch = {"x": rows.random((samples, *PICTURE), dtype=np.float32)}
            return batch if self.left >= 0 else None

    if kind == "dynamic":
        quantization.quantize_dynamic(path, to)
    else:
        quantization.quantize_static(path, to, Calibration())
    return to
