"""An ONNX graph that is run by onnxruntime, in place of torch: answers, and nothing inside."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from worldline.errors import InputError, ModelError
from worldline.files import reason_of, shorten
from worldline.loading.sandbox import tried_in_child
from worldline.loading.shapes import ExpectedShape, shape_to_try

__all__ = ["Attributes", "BlackBox", "UnsupportedError", "black_box", "open_session"]

Attributes = dict[str, Any]
"""Of a node, as ONNX gives them: numbers, text, tensors and lists of these."""
DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
}
SAMPLES = 2
QUIET = 4  # of onnxruntime's levels: nothing but what ends the process is written


class UnsupportedError(ModelError):
    """What torch cannot do of an ONNX graph; onnxruntime may."""


def open_session(content: bytes) -> Any:
    """Of a graph, an onnxruntime session on the CPU; ImportError where the package is missing."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class BlackBox(nn.Module):
    """Inputs (N, …) to what an onnxruntime session answers, without a gradient.

    Args:
        session: with one floating tensor in; ``output`` is one of its outputs.
        shape: of the inputs, the batch first; None for any size. Where the batch is fixed, inputs
            pass in such batches, the last one filled up.
        output: name of the output that holds the logits.
        why: it is a black box, as a sentence.
        content: the file's bytes, by which results are kept.
    """

    def __init__(
        self, session: Any, shape: tuple[int | None, ...], output: str, why: str, content: bytes
    ) -> None:
        super().__init__()
        self.session, self.output = session, output
        self.no_gradient = f"onnxruntime runs it as a black box ({why.rstrip('.')})"
        self.note = (
            "The model is run by onnxruntime on the CPU, as a black box without gradients and "
            f"inner layers: {why} The attack to use is --attack square."
        )
        self.entry = session.get_inputs()[0]
        self.batch = shape[0]
        self.expected_shape = (None, *shape[1:])
        digest = bytearray(hashlib.sha256(content).digest())
        self.register_buffer("content", torch.frombuffer(digest, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """Ask the session, batch by batch; the answer is where x is."""
        ExpectedShape(self.expected_shape, "the ONNX graph")(x)
        values = x.detach().to("cpu", DTYPES[self.entry.type])
        parts = [self._ask(part) for part in values.split(self.batch or max(len(x), 1))]
        return torch.cat(parts).to(x.device)

    def _ask(self, x: Tensor) -> Tensor:
        filled = x
        if self.batch and len(x) < self.batch:
            filled = torch.cat((x, x[-1:].expand(self.batch - len(x), *x.shape[1:])))
        try:
            (found,) = self.session.run([self.output], {self.entry.name: filled.numpy()})
        except Exception as error:  # onnxruntime has a class for each status
            raise ModelError(
                f"onnxruntime fails on inputs of shape {tuple(filled.shape)}: {reason_of(error)}."
            ) from error
        if not found.ndim or len(found) != len(filled):
            raise ModelError(
                f"The ONNX graph gives {found.shape} for {len(filled)} inputs; one row for each "
                "is expected. Export it with a free batch size."
            )
        return torch.from_numpy(found[: len(x)])

    def __deepcopy__(self, memo: dict[int, object]) -> BlackBox:
        """Itself: nothing in it can change."""
        return self

    def extra_repr(self) -> str:
        """What runs."""
        return f"onnxruntime, {self.expected_shape}"


def black_box(
    proto: Any, name: str, reason: ModelError, sample: tuple[int, ...] | None = None
) -> BlackBox:
    """A graph as a black box, tried in a child process with limits first, then here.

    Args:
        proto: the checked model, with its external data inside.
        name: the file, for messages.
        reason: why torch does not run it.
        sample: shape of one sample of the data.

    Raises:
        ModelError: onnxruntime is missing or fails, too; begins with the reason.

    Cost: the start of a Python process, and two evaluations.
    """
    missing = (
        f"{reason} pip install 'worldline[onnxruntime]' to run it as a black box, without "
        "gradients and inner layers."
    )
    try:
        content = proto.SerializeToString()
        import onnxruntime  # noqa: F401, PLC0415
    except ImportError as error:
        raise ModelError(missing) from error
    except ValueError as error:  # protobuf holds no more than 2 GB
        raise ModelError(f"{reason} It is too large for a black box.") from error
    try:
        return _opened(proto, content, name, reason, sample)
    except InputError as error:
        raise ModelError(f"{reason} As a black box it fails, too: {error}") from error


def _opened(
    proto: Any, content: bytes, name: str, reason: ModelError, sample: tuple[int, ...] | None
) -> BlackBox:
    weights = {it.name for it in proto.graph.initializer}
    inputs = [it for it in proto.graph.input if it.name not in weights]
    if len(inputs) != 1:
        raise ModelError(f"it takes {len(inputs)} inputs, where one is expected.")
    sides = inputs[0].type.tensor_type.shape.dim
    declared = tuple(side.dim_value if side.dim_value > 0 else None for side in sides)
    tries = [declared] if not declared or declared[0] else [declared, (1, *declared[1:])]
    for shape in tries:
        try:
            return _tried(content, shape, name, reason, sample)
        except InputError:
            if shape is tries[-1]:
                raise
    raise AssertionError


def _tried(
    content: bytes,
    shape: tuple[int | None, ...],
    name: str,
    reason: ModelError,
    sample: tuple[int, ...] | None,
) -> BlackBox:
    """A black box for inputs of that shape, after it has answered two, and then three."""
    tried = shape_to_try(shape, sample, SAMPLES)
    tried_in_child(content, list(tried), name, kind="onnx")
    session = open_session(content)
    kind = session.get_inputs()[0].type
    floating = [it.name for it in session.get_outputs() if it.type in DTYPES]
    if kind not in DTYPES or len(floating) != 1:
        raise ModelError(
            f"it takes {kind} and gives "
            f"{', '.join(f'{shorten(it.name, 40)} {it.type}' for it in session.get_outputs())}; "
            "one floating tensor in and one out are expected. Export it so (zipmap off)."
        )
    box = BlackBox(session, shape, floating[0], str(reason), content)
    box(torch.rand(tried[0] + 1, *tried[1:], generator=torch.Generator().manual_seed(0)))
    return box.eval()
