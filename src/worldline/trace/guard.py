"""Leave the user's model, and the process, as they were."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldline.errors import ModelError
from worldline.trace.opening import Model, modules_behind

__all__ = ["guarded", "untouched"]


def _set_threads(number: int) -> None:
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)


SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.get_rng_state, torch.set_rng_state),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_num_threads, _set_threads),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
)
"""How each thing of the process that a forward pass can disturb is read and set."""


CONTAINERS = (dict, OrderedDict, list, set)
PLAIN = frozenset((*CONTAINERS, bool, int, float, str, tuple, type(None), Tensor, nn.Parameter))
"""Attributes of nearly every module, which are no random generators."""


@contextmanager
def untouched(model: Model, *, writes: bool = True) -> Iterator[None]:
    """Run the body with the model in eval mode, then put everything back.

    Restored, also after an exception or an interrupt, for every module behind the model
    (:func:`modules_behind`): the mode, every attribute (and what its lists, dicts and sets hold,
    one level deep: so hooks, parameters and buffers by identity), the content of every parameter,
    buffer and tensor attribute, ``.grad`` and ``requires_grad`` (``.grad`` is out of the way during
    the body), and its own random generators. Of the process: the random state of Python, NumPy and
    torch, grad mode, default dtype, deterministic mode, the number of threads. Not restored: what a
    forward pass writes outside of its modules.

    Args:
        model: the model.
        writes: whether its forward, or what else is run, may write into parameters. If not, they
            are not copied, and that they are as they were is checked by their versions.

    Raises:
        ModelError: a parameter of a lazy module has no shape yet; or one was written to with
            ``writes=False``.

    Cost: one copy of the buffers and, with ``writes``, of the parameters, and a comparison with it.

    >>> from torch import nn
    >>> from worldline.trace import untouched
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    >>> with untouched(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    with guarded(model, writes=writes) as snapshot:
        yield
    if snapshot.lost:
        raise ModelError(
            "The model wrote into its parameters in this pass, and did not when its layers were "
            "found; they cannot be put back. Find its layers on inputs for which it does (then its "
            "parameters are copied first)."
        )


@contextmanager
def guarded(model: Model, *, writes: bool = True) -> Iterator[Snapshot]:
    """:func:`untouched`, with the snapshot, which says afterwards what was written to."""
    snapshot = Snapshot(modules_behind(model), writes=writes)
    try:  # twice, so that one interrupt in the middle of restoring does not leave it half done
        try:
            snapshot.prepare()
            yield snapshot
        finally:
            snapshot.restore()
    finally:
        snapshot.restore()


class Snapshot:
    """What there was, and how to have it again; restoring twice does no harm.

    ``wrote`` says afterwards whether a parameter had been written to, ``lost`` whether one could
    not be put back.
    """

    def __init__(self, roots: tuple[nn.Module, ...], *, writes: bool) -> None:
        self.roots = roots
        self.modules = list(dict.fromkeys(module for root in roots for module in root.modules()))
        self.modes = [module.training for module in self.modules]
        parameters = [value for root in roots for value in root.parameters()]
        for parameter in parameters:
            if torch.nn.parameter.is_lazy(parameter):
                raise ModelError(
                    "The model has a lazy module whose parameters have no shape yet. Run it once "
                    "on a batch of real inputs first."
                )
        self.parameters = list(dict.fromkeys(parameters))
        self.attributes = [
            (vars(module), dict(vars(module)))
            for module in self.modules
            if not isinstance(module, torch.jit.ScriptModule)
        ]
        held = [value for _, attributes in self.attributes for value in attributes.values()]
        self.containers = [(value, value.copy()) for value in held if type(value) in CONTAINERS]
        buffers = dict.fromkeys(value for root in roots for value in root.buffers())
        buffers |= dict.fromkeys(value for value in held if isinstance(value, Tensor))
        tensors = dict.fromkeys(self.parameters) | buffers
        copied = tensors if writes else buffers
        self.tensors = [(value, value.detach(), value.detach().clone()) for value in copied]
        self.versions = [
            (value, value.data_ptr(), _version(value))
            for value in self.parameters
            if value not in copied
        ]
        self.wrote = self.lost = False
        self.leaves = [
            (value, value.grad, value.requires_grad) for value in tensors if value.is_leaf
        ]
        self.generators = [
            pair for value in held if type(value) not in PLAIN and (pair := _generator(value))
        ]
        self.settings = [(get(), put) for get, put in SETTINGS]
        devices = {value.device for value in tensors if value.device.type == "cuda"}
        self.devices = [(device, torch.cuda.get_rng_state(device)) for device in devices]
        self.done = False

    def prepare(self) -> None:
        """Eval mode, and no gradients in the way."""
        for parameter in self.parameters:
            parameter.grad = None
        for root in self.roots:
            try:
                root.eval()
            except NotImplementedError:  # an exported graph has no modes; modules around it have
                for module in root.modules():
                    if not isinstance(module, torch.fx.GraphModule):
                        module.training = False

    def restore(self) -> None:
        """Put everything back."""
        if self.done:
            return
        for now, attributes in self.attributes:
            for name in now.keys() - attributes.keys():
                del now[name]
            now.update(attributes)
        for container, content in self.containers:
            if container or content:
                _refill(container, content)
        for module, mode in zip(self.modules, self.modes, strict=True):
            if module.training is not mode:
                module.training = mode
        with torch.no_grad():
            parameters = {id(parameter) for parameter in self.parameters}
            for value, alias, content in self.tensors:
                if _restore_tensor(value, alias, content) and id(value) in parameters:
                    self.wrote = True
        self.lost = any(
            (value.data_ptr(), _version(value)) != (where, version)
            for value, where, version in self.versions
        )
        for value, grad, requires_grad in self.leaves:
            _restore_gradient(value, grad, requires_grad)
        for state, put in (*self.generators, *self.settings):
            put(state)
        for device, state in self.devices:
            torch.cuda.set_rng_state(state, device)
        self.done = True


def _version(value: Tensor) -> int:
    return 0 if value.is_inference() else value._version


def _restore_tensor(value: Tensor, alias: Tensor, content: Tensor) -> bool:
    """Put old memory and old content back where they were changed; whether either was."""
    swapped = (
        value.data_ptr() != alias.data_ptr()
        or value.shape != alias.shape
        or value.dtype != alias.dtype
    )
    if swapped:
        value.data = alias
    if torch.equal(value, content):
        return swapped
    value.copy_(content)
    return True


def _restore_gradient(value: Tensor, grad: Tensor | None, requires_grad: bool) -> None:
    if value.requires_grad is not requires_grad:
        value.requires_grad_(requires_grad)
    if value.grad is not grad:
        value.grad = grad


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, list):
        container[:] = content
    else:
        container.clear()
        container.update(content)


def _generator(value: object) -> tuple[Any, Callable[[Any], Any]] | None:
    """The state of a random generator and how to set it."""
    if isinstance(value, (torch.Generator, np.random.RandomState)):
        return value.get_state(), value.set_state
    if isinstance(value, random.Random):
        return value.getstate(), value.setstate
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return bits.state, lambda state: setattr(bits, "state", state)
    return None
