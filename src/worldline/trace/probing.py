"""Two small passes that show what a model computes: each value once, and what the logits read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from worldline.errors import LayerError
from worldline.trace.guard import guarded
from worldline.trace.opening import Model, open_model
from worldline.trace.values import batch_dimension, shape_of, tensors_in
from worldline.trace.watching import READ, Visit, plain_name, watching

__all__ = ["NEVER", "PROBES", "Event", "Probed", "Unseen", "few", "probe", "unseen_layers"]

NEVER = "never ran"
PROBES = 2, 3  # samples in the two passes that show which dimension counts them


@dataclass(eq=False)
class Event:
    """One value, of the call that made it; ``handed_on`` by the calls that returned it again."""

    module: str
    call: int
    part: int
    batch_dim: int
    value: Tensor = field(repr=False)
    version: int | None = field(init=False)
    content: Tensor | None = field(init=False, repr=False)
    handed_on: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        frozen = self.value.is_inference()  # such a tensor has no version
        self.version = None if frozen else self.value._version
        self.content = self.value.clone() if frozen else None

    def holds(self, value: Tensor) -> bool:
        """Whether a value in the same memory, also as a view, was not written to since."""
        if self.content is not None:
            return torch.equal(self.content, self.value)
        return value.is_inference() or self.version == value._version


@dataclass(frozen=True)
class Unseen:
    """A module that is no layer.

    Attributes:
        module: its name.
        reason: in a few words.
        advice: the rest of the sentence, and what to do.
    """

    module: str
    reason: str
    advice: str


@dataclass(frozen=True)
class Probed:
    """What was seen.

    Attributes:
        events: all distinct values of one pass, in order.
        returned: the one that the model returned.
        embedding: the one that the module reads that makes the logits.
        reader: that module, and which call of it; None where it is not known.
        calls: how often each module ran.
        unseen: the modules of which no value was seen.
        writes: whether the forward wrote into parameters.
    """

    events: list[Event]
    returned: Event | None
    embedding: Event | None
    reader: tuple[str, int] | None
    calls: dict[str, int]
    unseen: tuple[Unseen, ...]
    writes: bool


def few(x: Tensor, samples: int) -> Tensor:
    """So many inputs, again from the start where there are fewer."""
    return x[:samples] if len(x) >= samples else x[torch.arange(samples, device=x.device) % len(x)]


def probe(model: Model, x: Tensor) -> Probed:
    """See :class:`Probed`. Cost: two forward passes, of two and three samples."""
    came: dict[tuple[str, int], str] = {}  # by call, in the pass of more samples
    shapes: dict[tuple[str, int], list[torch.Size]] = {}

    def remember(name: str, call: int, output: object) -> None:
        shapes[name, call] = [tensor.shape for _, tensor in tensors_in(output)]
        came[name, call] = shape_of(output)

    _pass(model, x, PROBES[1], remember)
    seeing = _Seeing(shapes)
    output, writes = _pass(model, x, PROBES[0], seeing)
    often = {name: call + 1 for name, call in shapes}  # the last call of each
    steady = {name for name, times in seeing.calls.items() if often.get(name) == times}
    returned = next(filter(None, (seeing.known(it) for _, it in tensors_in(output))), None)
    reader, embedding = _head(seeing, returned)
    events = list(seeing.events)
    if embedding is not None and embedding.event not in events:
        events.insert(embedding.place, embedding.event)
    events = [event for event in events if event.module in steady]
    found = None if embedding is None or embedding.event not in events else embedding.event
    return Probed(
        events,
        returned,
        found,
        reader,
        seeing.calls,
        tuple(_unseen(model, seeing, often, came)),
        writes,
    )


def unseen_layers(model: Model, x: Tensor) -> tuple[Unseen, ...]:
    """The modules that are no layers, and why: what a story of the layers leaves out.

    Of a module and those in it that are unseen for one reason the outer one is listed. A module
    without weights that never ran hides nothing, nor does a container whose modules run.

    Cost: two forward passes, of two and three samples.

    >>> import torch
    >>> from torch import nn
    >>> from worldline.trace import unseen_layers
    >>> model = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    >>> [(it.module, it.reason) for it in unseen_layers(model, torch.rand(2, 3, 4))]
    [('self_attn.out_proj', 'not called: attention reads its weights alone')]
    """
    root = open_model(model).root
    probed = probe(model, x)
    listed: dict[str, Unseen] = {}
    for it in probed.unseen:
        outer = listed.get(it.module.rpartition(".")[0])
        ran = any(name.startswith(f"{it.module}.") for name in probed.calls)
        weighted = root is not None and any(
            True for _ in root.get_submodule(it.module).parameters()
        )
        if "parametrizations" in it.module.split(".") or (
            it.reason == NEVER and (ran or not weighted)
        ):
            continue
        listed[it.module] = it if outer is None or outer.reason != it.reason else outer
    return tuple(it for name, it in listed.items() if it.module == name)


@dataclass
class _Read:
    """What a call with weights was given, how many values there were before, and what it made."""

    event: Event
    place: int
    made: Event | None = None

    def widths(self) -> set[int]:
        """How many numbers it makes, along the last dimension or as channels."""
        given, made = _sizes(self.event), _sizes(self.made) if self.made else []
        beside = made[-1:] if given[:-1] == made[:-1] else []
        return {*made[:1], *beside}


class _Seeing:
    """Visits one pass, and keeps each value once."""

    def __init__(self, shapes: dict[tuple[str, int], list[torch.Size]]) -> None:
        self.shapes = shapes
        self.events: list[Event] = []
        self.memory: dict[tuple[int, int], list[Event]] = {}  # by where it is and its size
        self.calls: dict[str, int] = {}
        self.reads: dict[tuple[str, int], _Read] = {}

    def known(self, value: Tensor) -> Event | None:
        """The event of this value."""
        here = self.memory.get((value.data_ptr(), value.numel()), [])
        return next((event for event in here if event.holds(value)), None)

    def __call__(self, name: str, call: int, output: object) -> None:
        """What ``watching`` visits."""
        self.calls[name] = call + 1
        event = self._event(name, call, output)
        if name.endswith(READ):
            if event is not None:
                self.reads[name, call] = _Read(event, len(self.events))
            return
        read = self.reads.get((name + READ, self.calls.get(name + READ, 0) - 1))
        if read is not None and read.place == len(self.events):  # nothing was made inside of it
            read.made = event
        if event is not None and (event.module, event.call) == (name, call):
            self.events.append(event)
            self.memory.setdefault((event.value.data_ptr(), event.value.numel()), []).append(event)
        elif event is not None:
            event.handed_on.append((name, call))

    def _event(self, name: str, call: int, output: object) -> Event | None:
        others = self.shapes.get((name, call), [])
        for (part, (_, value)), other in zip(enumerate(tensors_in(output)), others, strict=False):
            axis = batch_dimension(value, other, PROBES)
            if axis is not None:
                return self.known(value) or Event(name, call, part, axis, value)
        return None


def _head(seeing: _Seeing, returned: Event | None) -> tuple[tuple[str, int] | None, _Read | None]:
    """The call with weights that makes the logits, and what it reads.

    It made what the model returned; or it is the last one before that which makes as many numbers
    (or one, for two classes), side by side or as channels. Where there is none, the head is a
    function, and reads the last value before the output.
    """
    if returned is None:
        return None, None
    place = seeing.events.index(returned)
    classes = math.prod(_sizes(returned))
    fits = {1, 2} if classes <= 2 else {classes}
    reads = [(key, read) for key, read in seeing.reads.items() if read.made is not None]
    made = [it for it in reads if it[1].made is returned] or [
        (key, read)
        for key, read in reads
        if read.made in seeing.events[:place] and fits & read.widths()
    ]
    if made:
        (name, call), read = made[-1]
        return (name.removesuffix(READ), call), read
    return None, _Read(seeing.events[place - 1], place) if place else None


def _sizes(event: Event) -> list[int]:
    return [size for axis, size in enumerate(event.value.shape) if axis != event.batch_dim]


def _unseen(
    model: Model, seeing: _Seeing, often: dict[str, int], came: dict[tuple[str, int], str]
) -> Iterator[Unseen]:
    opened = open_model(model)
    if opened.root is None or opened.graph:
        return
    seen = {event.module for event in seeing.events if often.get(event.module)}
    seen |= {name for event in seeing.events for name, _ in event.handed_on}
    modules = {plain_name(name): it for name, it in opened.root.named_modules()}
    for name, module in modules.items():
        ran, again = seeing.calls.get(name, 0), often.get(name, 0)
        parent = modules.get(name.rpartition(".")[0])
        if isinstance(module, torch.jit.ScriptModule):
            yield Unseen(
                name,
                "scripted",
                "cannot be seen: it is scripted, and PyTorch runs no hooks inside a ScriptModule.",
            )
        elif ran != again:
            yield Unseen(
                name,
                "run as often as the batch is large",
                f"ran {ran} times for {PROBES[0]} samples and {again} times for {PROBES[1]}: which "
                "call is which depends on the batch. Trace layers that every input passes alike.",
            )
        elif not ran and isinstance(parent, nn.MultiheadAttention):
            yield Unseen(
                name,
                "not called: attention reads its weights alone",
                "is never called: attention reads its weights alone. Trace "
                f"{name.rpartition('.')[0]!r}, whose value is what it would return.",
            )
        elif not ran:
            yield Unseen(
                name, NEVER, "exists but never ran in the forward pass. Choose a layer that runs."
            )
        elif name not in seen:
            yield Unseen(
                name,
                "no row for each sample",
                f"is no value of its own: for {PROBES[1]} inputs it returned {came[name, 0]}. A "
                "layer needs a floating tensor with a batch dimension (one that counts the "
                "samples).",
            )


def _pass(model: Model, x: Tensor, samples: int, visit: Visit) -> tuple[object, bool]:
    """What the model returned, and whether it wrote into its parameters."""
    with guarded(model) as snapshot, torch.no_grad(), watching(model, visit) as run:
        try:
            output = run(few(x, samples))
        except AssertionError as error:
            if open_model(model).graph and "Guard failed" in str(error):
                raise LayerError(
                    f"The exported model does not take {samples} inputs "
                    f"({str(error).splitlines()[0]}). Export it with a free batch "
                    "size: torch.export.export(model, (x,), dynamic_shapes=({0: "
                    'torch.export.Dim("batch")},)).'
                ) from error
            raise
    return output, snapshot.wrote
