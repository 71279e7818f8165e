"""Keys made from content: what decides a result decides the name under which it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from worldline import __version__

__all__ = ["content_key"]

ROWS = ("crow_indices", "col_indices", "values")
COLUMNS = ("ccol_indices", "row_indices", "values")
PARTS = {
    torch.sparse_coo: ("indices", "values"),
    **dict.fromkeys((torch.sparse_csr, torch.sparse_bsr), ROWS),
    **dict.fromkeys((torch.sparse_csc, torch.sparse_bsc), COLUMNS),
}
"""What a sparse tensor consists of, by its layout."""


def content_key(*parts: object) -> str:
    """Sixteen hexadecimal digits that change with any part, or with the version of torch or ours.

    Args:
        parts: tensors of any dtype, shape and layout (empty, 0-dimensional, complex, quantised,
            sparse, float8; a meta tensor counts by its shape alone), modules (their structure and
            all that their state dict holds), bytes, text, numbers, and whatever says by ``repr``
            what it is.

    >>> import torch
    >>> from worldline.runs.keys import content_key
    >>> content_key(torch.tensor(1.0)) == content_key(torch.tensor(2.0))
    False
    """
    digest = hashlib.sha256(f"{__version__} {torch.__version__}".encode())
    for part in parts:
        for piece in _pieces(part):
            digest.update(len(piece).to_bytes(8, "little"))
            digest.update(piece)
    return digest.hexdigest()[:16]


def _pieces(part: object) -> Iterator[bytes]:
    if isinstance(part, Tensor):
        yield from _tensor(part.detach())
    elif isinstance(part, nn.Module):
        yield repr(part).encode("utf-8", "replace")
        for name, value in part.state_dict().items():
            yield name.encode("utf-8", "replace")
            yield from _pieces(value)
    elif isinstance(part, bytes):
        yield part
    else:
        text = part if isinstance(part, str) else repr(part)
        yield text.encode("utf-8", "replace")


def _tensor(tensor: Tensor) -> Iterator[bytes]:
    """What the tensor is, then what it holds."""
    yield f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout}".encode()
    if tensor.is_meta:
        return
    if tensor.layout is not torch.strided:
        yield from _sparse(tensor)
    elif tensor.is_quantized:
        yield str(_steps(tensor)).encode()
        yield from _tensor(tensor.int_repr())
    else:
        plain = tensor.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        yield plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def _sparse(tensor: Tensor) -> Iterator[bytes]:
    whole = tensor.coalesce() if tensor.layout is torch.sparse_coo else tensor
    for part in PARTS.get(tensor.layout, ("to_dense",)):
        yield from _tensor(getattr(whole, part)())


def _steps(tensor: Tensor) -> tuple[object, ...]:
    """The scale of a quantised tensor: one for all, or one for each channel."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return tensor.q_scale(), tensor.q_zero_point()
    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return tensor.q_per_channel_axis(), scales.tolist(), zeros.tolist()
