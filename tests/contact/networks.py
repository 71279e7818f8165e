"""Networks as people bring them, with random weights: what is tried is their kind, not their skill.

A file of factories, as ``--model networks.py:resnet`` wants it. Those of pictures take (N, 3, 16,
16) in [0, 1]; the name of another shape is in ``DATA``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CLASSES = 4
Net = TypeVar("Net", bound=nn.Module)
NETWORKS: dict[str, Callable[[], nn.Module]] = {}
DATA: dict[str, str] = {}  # of networks that want other than "pictures"


def network(data: str = "pictures") -> Callable[[Callable[[], Net]], Callable[[], Net]]:
    """Enters a factory in the table; its weights are the same each time."""

    def entered(make: Callable[[], Net]) -> Callable[[], Net]:
        @functools.wraps(make)
        def made() -> Net:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return make().eval()

        NETWORKS[make.__name__] = made
        DATA[make.__name__] = data
        return made

    return entered


def conv(inputs: int, outputs: int, size: int = 3, **options: int) -> nn.Sequential:
    """Convolution, normalisation, activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, **options),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """The basic block of ResNets."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.downsample(x))


class ResNet(nn.Module):
    """Two stages, then global pooling, flattened by a function as torchvision does."""

    def __init__(self, channels: int = 3, classes: int = CLASSES, width: int = 8) -> None:
        super().__init__()
        self.stem = conv(channels, width)
        self.layer1 = nn.Sequential(Residual(width, width), Residual(width, width))
        self.layer2 = nn.Sequential(Residual(width, 2 * width, 2), Residual(2 * width, 2 * width))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.stem(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


@network()
def resnet() -> nn.Module:
    return ResNet()


@network("grey")
def resnet_grey() -> nn.Module:
    return ResNet(channels=1)


@network("pair")
def resnet_two_classes() -> nn.Module:
    return ResNet(classes=2)


@network("thousand")
def resnet_thousand_classes() -> nn.Module:
    return ResNet(classes=1000)


class Dense(nn.Module):
    """A dense block: each layer sees all before it."""

    def __init__(self, inputs: int, growth: int, depth: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(inputs + i * growth),
                nn.ReLU(),
                nn.Conv2d(inputs + i * growth, growth, 3, padding=1),
            )
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = torch.cat([x, part(x)], 1)
        return x


@network()
def densenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        Dense(8, 4, 3),
        nn.Conv2d(20, 8, 1),
        nn.AvgPool2d(2),
        Dense(8, 4, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(20, CLASSES),
    )


class Inverted(nn.Module):
    """MobileNetV2's block: widen, depthwise, narrow, add."""

    def __init__(self, width: int, factor: int = 2) -> None:
        super().__init__()
        hidden = width * factor
        self.layers = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


@network()
def mobilenet() -> nn.Module:
    return nn.Sequential(
        conv(3, 8, stride=2),
        Inverted(8),
        Inverted(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(8, CLASSES),
    )


class Squeezed(nn.Module):
    """EfficientNet's squeeze and excitation, with SiLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, 2, 1),
            nn.SiLU(),
            nn.Conv2d(2, width, 1),
            nn.Sigmoid(),
        )
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.depthwise(x))
        return x + out * self.gate(out)


@network()
def efficientnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        Squeezed(8),
        Squeezed(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


class ConvNeXtBlock(nn.Module):
    """Depthwise 7×7, layer norm over channels last, two linear layers, layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.narrow = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.narrow(self.act(self.widen(out)))).permute(0, 3, 1, 2)


@network()
def convnext() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 4),
        ConvNeXtBlock(8),
        ConvNeXtBlock(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(8),
        nn.Linear(8, CLASSES),
    )


@network()
def vgg() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(conv(3, 8), nn.MaxPool2d(2), conv(8, 16), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Sequential(nn.Linear(256, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, CLASSES)),
    )


class Inception(nn.Module):
    """Branches that are concatenated."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch1 = conv(inputs, 4, 1)
        self.branch3 = nn.Sequential(conv(inputs, 4, 1), conv(4, 4))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(inputs, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch3(x), self.pool(x)], 1)


@network()
def inception() -> nn.Module:
    return nn.Sequential(
        conv(3, 8, stride=2),
        Inception(8),
        Inception(12),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, CLASSES),
    )


class Functional(nn.Module):
    """No module but the weighted ones: activations and pooling are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc1 = nn.Linear(256, 32)
        self.fc2 = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc2(functional.relu(self.fc1(x.flatten(1))))


@network()
def functional_cnn() -> nn.Module:
    return Functional()


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, encoder layers, a head on the class token."""

    def __init__(self, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(0.1 * torch.randn(1, 17, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.encoder(x))[:, 0])


@network()
def vision_transformer() -> nn.Module:
    return VisionTransformer()


class Window(nn.Module):
    """Swin's block: attention within windows, which are shifted in every second block."""

    def __init__(self, width: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, depth = x.shape
        size = self.window
        out = torch.roll(self.norm1(x), (-self.shift, -self.shift), (1, 2))
        out = out.reshape(n, height // size, size, width // size, size, depth)
        out = out.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, depth)
        out = self.attention(out, out, out, need_weights=False)[0]
        out = out.reshape(n, height // size, width // size, size, size, depth)
        out = out.permute(0, 1, 3, 2, 4, 5).reshape(n, height, width, depth)
        x = x + torch.roll(out, (self.shift, self.shift), (1, 2))
        return x + self.mlp(self.norm2(x))


class Swin(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 2, 2)
        self.blocks = nn.Sequential(Window(width, 4, 0), Window(width, 4, 2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.patches(x).permute(0, 2, 3, 1))
        return self.head(self.norm(x).mean((1, 2)))


@network()
def swin() -> nn.Module:
    return Swin()


class Mixer(nn.Module):
    """MLP-mixer's block."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 16), nn.GELU(), nn.Linear(16, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class MixerNet(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.blocks = nn.Sequential(Mixer(16, width), Mixer(16, width))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


@network()
def mlp_mixer() -> nn.Module:
    return MixerNet()


@network("signal")
def cnn_1d() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 8, 5, padding=2),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 5, padding=2),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


@network("video")
def cnn_3d() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )


class Recurrent(nn.Module):
    """The last state of a recurrent network, classified."""

    def __init__(self, kind: type[nn.RNNBase], **options: bool) -> None:
        super().__init__()
        self.rnn = kind(2, 16, batch_first=True, **options)
        self.head = nn.Linear(32 if options.get("bidirectional") else 16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(x.transpose(1, 2))
        return self.head(out[:, -1])


@network("signal")
def lstm() -> nn.Module:
    return Recurrent(nn.LSTM)


@network("signal")
def gru_both_ways() -> nn.Module:
    return Recurrent(nn.GRU, bidirectional=True)


class Sequence(nn.Module):
    """``nn.TransformerEncoder`` with what torch calls its fast path, over a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(2, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.transpose(1, 2))).mean(1))


@network("signal")
def transformer_encoder() -> nn.Module:
    return Sequence()


class Text(nn.Module):
    """A text classifier from its embeddings on: (N, tokens, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 12, batch_first=True)
        self.attend = nn.Linear(12, 1)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        out, _ = self.gru(x)
        return {"logits": self.head((self.attend(out).softmax(1) * out).sum(1))}


@network("embeddings")
def text_from_embeddings() -> nn.Module:
    return Text()


@network("table")
def tabular_mlp() -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm1d(30),
        nn.Linear(30, 32),
        nn.ReLU(),
        nn.Linear(32, 16),
        nn.Tanh(),
        nn.Linear(16, 2),
    )


@network("table")
def tabular_one_logit() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))


@network("three")
def three_classes() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.ReLU(), nn.Linear(16, 3))


def small() -> nn.Sequential:
    return nn.Sequential(
        conv(3, 8, stride=2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES)
    )


@network("pair")
def one_logit() -> nn.Module:
    return nn.Sequential(*small()[:-1], nn.Linear(32, 1))


class Squeeze(nn.Module):
    """A binary model that gives (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*small()[:-1], nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(-1)


@network("pair")
def one_logit_squeezed() -> nn.Module:
    return Squeeze()


@network()
def float64() -> nn.Module:
    return small().double()


@network()
def bfloat16() -> nn.Module:
    return small().bfloat16()


@network()
def half() -> nn.Module:
    return small().half()


class Tied(nn.Module):
    """One block, four times; the head is the stem's transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(768, 16, bias=False)
        self.block = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
        self.back = nn.Linear(16, 16)
        self.back.weight = self.block[0].weight
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(1))
        for _ in range(4):
            x = x + self.block(x)
        return self.head(self.back(x))


@network()
def weight_tied() -> nn.Module:
    return Tied()


@network()
def lazy() -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(CLASSES)
    )


class Checkpointed(nn.Module):
    """Gives memory for time, as large models do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = conv(3, 8, stride=2), Residual(8, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.block, self.stem(x), use_reentrant=False)
        return self.head(x.mean((2, 3)))


@network()
def checkpointed() -> nn.Module:
    return Checkpointed()


@network()
def with_own_hooks() -> nn.Module:
    model = small()
    model.seen = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        model.seen += len(output)

    model[0].register_forward_hook(count)
    return model


@network()
def spectral_norm() -> nn.Module:
    model = small()
    model[-1] = nn.utils.parametrizations.spectral_norm(model[-1])
    return model


@network()
def compiled() -> nn.Module:
    return torch.compile(small(), backend="eager")  # type: ignore[return-value]


@network()
def scripted() -> nn.Module:
    return torch.jit.script(small().eval())


@network()
def quantised() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})


class NoGradient(nn.Module):
    """Looks like a model, but hands no gradient back."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.body, self.how = small(), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                return self.body(x)
        if self.how == "detached":
            return self.body(x.detach())
        if self.how == "rounded":
            return self.body((x * 255).round() / 255)
        return self.body((x * 255).to(torch.uint8).float() / 255)


@network()
def under_no_grad() -> nn.Module:
    return NoGradient("no_grad")


@network()
def detached() -> nn.Module:
    return NoGradient("detached")


@network()
def rounded() -> nn.Module:
    return NoGradient("rounded")


@network()
def integer_cast() -> nn.Module:
    return NoGradient("cast")


@network()
def saturated() -> nn.Module:
    model = small()
    return nn.Sequential(*model, nn.Softmax(-1), nn.Hardtanh(0, 1e-30))


class Standardised(nn.Module):
    """Pixels from 0 to 255: the model scales them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small()
        self.register_buffer("mean", torch.tensor([120.0, 115, 104]).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body((x - self.mean) / 60)


@network("bytes")
def pixels_to_255() -> nn.Module:
    return Standardised()


class Tupled(nn.Module):
    """Main and auxiliary logits, as Inception in training gives."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.other = small(), small()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.body(x), self.other(x)


@network("bytes_last")
def uint8_channels_last() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, CLASSES))


@network("pair")
def one_probability() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 1), nn.Sigmoid())


@network()
def two_outputs() -> nn.Module:
    return Tupled()


@network()
def lightning_module() -> nn.Module:
    from pytorch_lightning import LightningModule

    class Lightning(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.body = small()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

        def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
            loss = functional.cross_entropy(self(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

    return Lightning()
