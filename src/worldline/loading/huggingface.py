"""``hf:FOLDER``: image and text classifiers saved by Hugging Face transformers.

Needs the extra ``[hf]``; never downloads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from worldline.errors import InputError, ModelError, ShapeError
from worldline.files import real_file, shorten, size_text
from worldline.loading.weights import check_safetensors

__all__ = ["ImageClassifier", "TextClassifier", "load_huggingface"]

CONFIG_LIMIT = 4 * 2**20  # bytes of a config.json: room for the names of 20,000 classes
REFUSED = {
    "auto_map": "names Python code of its own",
    "quantization_config": "is quantised, which needs further packages",
    "backbone": "fetches a backbone from elsewhere",
    "custom_pipelines": "names Python code of its own",
}
AGAIN = "Save it again with model.save_pretrained(folder)."


class ImageClassifier(nn.Module):
    """Pixels in the declared bounds to logits; the preprocessor's arithmetic is inside.

    Args:
        model: a transformers image classifier.
        bounds: lowest and highest value of a pixel, its black and its white.
        mean, std: by channel, of pixels in [0, 1].

    >>> class Sum(nn.Module):
    ...     def forward(self, pixel_values):
    ...         return type("Output", (), {"logits": pixel_values.sum((2, 3))})
    >>> ImageClassifier(Sum(), (0, 255), (0.5,), (0.5,))(torch.full((1, 1, 1, 1), 255.0))
    tensor([[1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        bounds: tuple[float, float],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.model, self.bounds = model, bounds
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, pixels: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Rescale, normalise, classify."""
        low, high = self.bounds
        logits: Tensor = self.model(
            pixel_values=((pixels - low) / (high - low) - self.mean) / self.std
        ).logits
        return logits


class TextClassifier(nn.Module):
    """Input embeddings to logits.

    Token ids are not continuous, so what is traced and attacked is what they are looked up as.

    The input is (N, T, D + 1): the D numbers of each token's embedding, and the attention mask,
    written as the upper bound for a token and the lower for padding. The mask is read by its side
    of the middle, without a gradient, so an L∞ attack with ε below half of the bounds' width
    leaves it as it is. An adversarial embedding is in general the embedding of no text: it tells
    of the model, not of an attack by words.

    Attributes:
        bounds: lowest and highest entry of the embedding table, the range in which an embedding may
            be moved.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        table: Tensor = model.get_input_embeddings().weight.detach()  # type: ignore[operator]
        self.bounds = (float(table.min()), float(table.max()))

    @torch.no_grad()
    def embed(
        self,
        token_ids: Int[Tensor, "N T"],
        attention_mask: Int[Tensor, "N T"] | Bool[Tensor, "N T"],
    ) -> Float[Tensor, "N T D1"]:
        """Token ids and their mask as the input of this model.

        Args:
            token_ids: what the tokenizer calls ``input_ids``.
            attention_mask: 1 for a token, 0 for padding.

        Raises:
            ShapeError: ids outside the vocabulary, or a mask of another shape.
        """
        lookup: nn.Embedding = self.model.get_input_embeddings()  # type: ignore[operator]
        if (
            token_ids.ndim != 2
            or token_ids.shape != attention_mask.shape
            or token_ids.is_floating_point()
        ):
            raise ShapeError(
                "Token ids and attention mask must be integers (N, T) of one shape; got "
                f"{tuple(token_ids.shape)} {token_ids.dtype} and {tuple(attention_mask.shape)}."
            )
        if token_ids.numel() and not (
            int(token_ids.min()) >= 0 and int(token_ids.max()) < lookup.num_embeddings
        ):
            raise ShapeError(
                f"Token ids must lie in 0…{lookup.num_embeddings - 1}; got "
                f"{int(token_ids.min())}…{int(token_ids.max())}. Use the model's tokenizer."
            )
        vectors = lookup(token_ids)  # (N, T, D)
        low, high = self.bounds
        mask = torch.where(attention_mask.bool(), high, low).to(vectors)
        return torch.cat([vectors, mask.unsqueeze(2)], dim=2)

    def forward(self, embeddings: Float[Tensor, "N T D1"]) -> Float[Tensor, "N K"]:
        """Classify."""
        mask = (embeddings[..., -1] > sum(self.bounds) / 2).long()
        logits: Tensor = self.model(inputs_embeds=embeddings[..., :-1], attention_mask=mask).logits
        return logits


def load_huggingface(
    folder: Path, *, bounds: tuple[float, float] = (0.0, 1.0)
) -> ImageClassifier | TextClassifier:
    """A classifier from a folder with ``config.json`` and ``model.safetensors``.

    The architecture is one of the installed transformers package: no code of the folder is run
    (``trust_remote_code=False``), no pickle is read, nothing is downloaded. The configuration's
    number of weights is compared with the file's before any is made.

    Args:
        folder: as ``save_pretrained`` leaves it; for images ``preprocessor_config.json`` gives mean
            and standard deviation (without it: none).
        bounds: lowest and highest value of a pixel, for images.

    Returns:
        An :class:`ImageClassifier`, or a :class:`TextClassifier`, which takes embeddings; see its
        ``embed`` and ``bounds``.

    Raises:
        ModelError: the extra is missing, files are missing or deceive, or the model is no
            classifier of images or text.

    Cost: the weights, once; the architecture is first built without memory.

    >>> import tempfile
    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> sizes = {"hidden_size": 8, "intermediate_size": 8, "vocab_size": 20, "num_labels": 3}
    >>> config = BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=2)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     BertForSequenceClassification(config).save_pretrained(place)
    ...     model = load_huggingface(Path(place))
    >>> x = model.embed(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 1, 0]]))
    >>> x.shape, model(x).shape
    (torch.Size([1, 3, 9]), torch.Size([1, 3]))
    """
    shown = shorten(str(folder))
    try:
        found = folder.is_dir()
    except (OSError, ValueError):
        found = False
    if not found:
        raise ModelError(
            f"There is no folder {shown!r}. After hf: comes a local folder with config.json and "
            "model.safetensors; nothing is downloaded."
        )
    config = _document(folder, "config.json")
    _check_config(config, shown)
    weights = folder / "model.safetensors"
    endings = (".bin", ".pt", ".pth", ".h5", ".index.json")
    others = sorted(it.name for it in folder.iterdir() if it.name.endswith(endings))
    if not weights.exists() and others:
        raise ModelError(
            f"{shown} has no model.safetensors but {', '.join(others[:5])}: pickles can run "
            f"anything and are not opened, and parts are not put together. {AGAIN}"
        )
    size = check_safetensors(real_file(weights, "weights file", ModelError, inside=folder))
    try:
        import transformers  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            "Reading hf:FOLDER needs the package transformers: pip install 'worldline[hf]'."
        ) from error
    kinds = (
        transformers.AutoModelForImageClassification,
        transformers.AutoModelForSequenceClassification,
    )
    kind = next(
        (
            kind
            for kind, word in zip(
                kinds, ("ForImageClassification", "ForSequenceClassification"), strict=True
            )
            if word in _architecture(config)
        ),
        None,
    )
    if kind is None:
        raise ModelError(
            f"{shown} holds {shorten(_architecture(config), 60) or 'no named architecture'}; a "
            "…ForImageClassification or …ForSequenceClassification is expected."
        )
    try:
        with (
            _quiet(transformers),
            torch.random.fork_rng(devices=[]),
        ):  # it draws weights before it reads them
            model = _open(transformers, kind, folder, size, shown)
    except InputError:
        raise
    except Exception as error:  # transformers raises whatever a configuration makes of it
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{shown} cannot be opened by transformers {transformers.__version__}: "
            f"{shorten(reason[0], 300)}. {AGAIN}"
        ) from error
    if kind is kinds[1]:
        return TextClassifier(model.eval())
    return ImageClassifier(model.eval(), bounds, *_normalisation(folder, model)).eval()


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and reports on standard error; what matters of them is raised."""
    words = transformers.utils.logging
    verbosity, bars = words.get_verbosity(), words.is_progress_bar_enabled()
    words.set_verbosity(words.CRITICAL)
    words.disable_progress_bar()
    try:
        yield
    finally:
        words.set_verbosity(verbosity)
        if bars:
            words.enable_progress_bar()


def _architecture(config: dict[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def _open(transformers: Any, kind: Any, folder: Path, size: int, shown: str) -> nn.Module:
    config = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    with torch.device("meta"):
        shape = kind.from_config(config, trust_remote_code=False)
    numbers = sum(it.numel() for it in shape.parameters())
    if numbers > size:  # a weight takes a byte or more
        raise ModelError(
            f"The configuration in {shown} describes {numbers:,} weights; model.safetensors has "
            f"{size_text(size)} for them. {AGAIN}"
        )
    model, report = kind.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    if absent := sorted(report["missing_keys"]):
        raise ModelError(
            f"model.safetensors in {shown} lacks {len(absent)} weights, the first "
            f"{shorten(absent[0], 60)!r}; they would be random. {AGAIN}"
        )
    assert isinstance(model, nn.Module)
    return model


def _document(folder: Path, name: str) -> dict[str, Any]:
    path = real_file(folder / name, "file", ModelError, inside=folder)
    if path.stat().st_size > CONFIG_LIMIT:
        raise ModelError(
            f"{name} in {shorten(str(folder))} has {size_text(path.stat().st_size)}; "
            f"{size_text(CONFIG_LIMIT)} are allowed."
        )
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{name} in {shorten(str(folder))} is not JSON: {shorten(str(error))}. {AGAIN}"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{name} in {shorten(str(folder))} is not a JSON object. {AGAIN}")
    return content


def _check_config(config: dict[str, Any], shown: str) -> None:
    for key, why in REFUSED.items():
        if config.get(key):
            raise ModelError(
                f"The configuration in {shown} {why} ({key}); it is not opened. Bring the model as "
                "file.py:factory with safetensors."
            )
    for key, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        layers = any(word in key for word in ("layer", "depth", "block", "stage"))
        for number in numbers:
            whole = isinstance(number, int) and not isinstance(number, bool)
            if whole and (abs(number) > 10**8 or (layers and abs(number) > 10**4)):
                raise ModelError(
                    f"{shorten(key, 40)} in the configuration in {shown} is "
                    f"{shorten(str(number), 40)}, which no model has. {AGAIN}"
                )


def _normalisation(folder: Path, model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The preprocessor's mean and standard deviation, for pixels in [0, 1]."""
    channels = int(getattr(model.config, "num_channels", 3))
    if not (folder / "preprocessor_config.json").exists():
        return (0.0,) * channels, (1.0,) * channels
    said = _document(folder, "preprocessor_config.json")
    scale = 255 * said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 255.0
    normalised = said.get("do_normalize", True)
    mean, std = (said.get(key) if normalised else None for key in ("image_mean", "image_std"))
    mean, std = mean or [0.0] * channels, std or [1.0] * channels
    sound = isinstance(mean, list) and isinstance(std, list) and isinstance(scale, (int, float))
    if (
        not sound
        or len(mean) != len(std)
        or len(mean) != channels
        or not all(isinstance(it, (int, float)) and abs(it) < 1e6 for it in (*mean, *std))
        or 0 in (scale, *std)
    ):
        raise ModelError(
            f"preprocessor_config.json in {shorten(str(folder))} has image_mean {mean}, image_std "
            f"{std}; {channels} numbers each, no std of 0, are expected."
        )
    return tuple(it / scale for it in mean), tuple(it / scale for it in std)
