"""Vision and speech networks written out in plain PyTorch, with random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _conv_bn(i: int, o: int, k: int, s: int = 1, g: int = 1, act: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act] if act is not None else []))


class _Basic(nn.Module):
    expansion = 1

    def __init__(self, i: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv_bn(i, width, 3, stride, act=nn.ReLU()), _conv_bn(width, width, 3))
        self.skip = _conv_bn(i, width, 1, stride) if stride != 1 or i != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, i: int, width: int, stride: int) -> None:
        super().__init__()
        o = width * 4
        self.body = nn.Sequential(
            _conv_bn(i, width, 1, act=nn.ReLU()),
            _conv_bn(width, width, 3, stride, act=nn.ReLU()),
            _conv_bn(width, o, 1),
        )
        self.skip = _conv_bn(i, o, 1, stride) if stride != 1 or i != o else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class ResNet(nn.Module):
    """ResNet: ``depths`` blocks per stage, starting at ``width`` channels."""

    def __init__(self, depths: tuple[int, ...], width: int, bottleneck: bool, classes: int) -> None:
        super().__init__()
        block: type[_Basic] | type[_Bottleneck] = _Bottleneck if bottleneck else _Basic
        layers: list[nn.Module] = [_conv_bn(3, width, 7, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
        i = width
        for stage, depth in enumerate(depths):
            for b in range(depth):
                layers.append(block(i, width << stage, 2 if b == 0 and stage else 1))
                i = (width << stage) * block.expansion
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(i, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


class _Squeeze(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(F.silu(self.down(x.mean((2, 3), keepdim=True)))))


class _Inverted(nn.Module):
    def __init__(self, i: int, o: int, k: int, stride: int, expand: int, squeeze: bool, act: type[nn.Module]) -> None:
        super().__init__()
        wide = i * expand
        layers: list[nn.Module] = [_conv_bn(i, wide, 1, act=act())] if expand != 1 else []
        layers.append(_conv_bn(wide, wide, k, stride, wide, act()))
        if squeeze:
            layers.append(_Squeeze(wide, max(1, i // 4)))
        self.body = nn.Sequential(*layers, _conv_bn(wide, o, 1))
        self.residual = stride == 1 and i == o

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class MobileNet(nn.Module):
    """Inverted residuals: MobileNetV2 (ReLU6), or EfficientNet when ``squeeze`` (SiLU, squeeze and excitation)."""

    def __init__(
        self, rows: list[tuple[int, int, int, int, int]], stem: int, last: int, squeeze: bool, classes: int
    ) -> None:
        super().__init__()
        act: type[nn.Module] = nn.SiLU if squeeze else nn.ReLU6
        layers: list[nn.Module] = [_conv_bn(3, stem, 3, 2, act=act())]
        i = stem
        for expand, o, repeat, stride, k in rows:
            for r in range(repeat):
                layers.append(_Inverted(i, o, k, stride if r == 0 else 1, expand, squeeze, act))
                i = o
        self.features = nn.Sequential(*layers, _conv_bn(i, last, 1, act=act()))
        self.head = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class _Split(nn.Module):
    """Two branches, one of them deeper, joined again (the building block of YOLO detectors)."""

    def __init__(self, i: int, o: int, depth: int) -> None:
        super().__init__()
        self.first = _conv_bn(i, o, 1, act=nn.SiLU())
        half = o // 2
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv_bn(half, half, 3, act=nn.SiLU()), _conv_bn(half, half, 3, act=nn.SiLU()))
            for _ in range(depth)
        )
        self.last = _conv_bn(half * (2 + depth), o, 1, act=nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Detector(nn.Module):
    """A YOLO-style detector: pyramid pooling, an up- and a downward path, boxes decoded on a grid (no suppression)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        w = width
        self.stem = _conv_bn(3, w, 3, 2, act=nn.SiLU())
        self.c2 = nn.Sequential(_conv_bn(w, 2 * w, 3, 2, act=nn.SiLU()), _Split(2 * w, 2 * w, 1))
        self.c3 = nn.Sequential(_conv_bn(2 * w, 4 * w, 3, 2, act=nn.SiLU()), _Split(4 * w, 4 * w, 1))
        self.reduce = _conv_bn(4 * w, 2 * w, 1, act=nn.SiLU())
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.expand = _conv_bn(8 * w, 4 * w, 1, act=nn.SiLU())
        self.up = _Split(6 * w, 2 * w, 1)
        self.down = _conv_bn(2 * w, 2 * w, 3, 2, act=nn.SiLU())
        self.join = _Split(6 * w, 4 * w, 1)
        self.heads = nn.ModuleList(nn.Conv2d(c, 4 + classes, 1) for c in (2 * w, 4 * w))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        c2 = self.c2(self.stem(x))
        p = [self.reduce(self.c3(c2))]
        for _ in range(3):
            p.append(self.pool(p[-1]))
        c3 = self.expand(torch.cat(p, 1))
        u = self.up(torch.cat([F.interpolate(c3, scale_factor=2.0, mode="nearest"), c2], 1))
        d = self.join(torch.cat([self.down(u), c3], 1))
        boxes, scores = [], []
        for head, level, stride in zip(self.heads, (u, d), (4, 8)):
            y = head(level)
            h, w = y.shape[2], y.shape[3]
            gy, gx = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack([gx, gy]).to(y.dtype)
            centre = (torch.sigmoid(y[:, :2]) * 2 - 0.5 + grid) * stride
            size = (torch.sigmoid(y[:, 2:4]) * 2) ** 2 * stride
            boxes.append(torch.cat([centre - size / 2, centre + size / 2], 1).flatten(2))
            scores.append(torch.sigmoid(y[:, 4:]).flatten(2))
        return torch.cat(boxes, 2).transpose(1, 2), torch.cat(scores, 2).transpose(1, 2)


class Tutorial(nn.Module):
    """The CNN of beginners' tutorials: three convolutions with pooling behind each, then two dense layers."""

    def __init__(self, side: int, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in ((channels, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(i, o, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)]
            side //= 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * side * side, 64), nn.ReLU())
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(self.head(self.body(x)), 1)


class UNet(nn.Module):
    """``levels`` down and up again, with skips; bilinear resizing on the last level, transposed convolution before."""

    def __init__(self, width: int, classes: int, levels: int = 2) -> None:
        super().__init__()
        w = width

        def double(i: int, o: int) -> nn.Sequential:
            return nn.Sequential(_conv_bn(i, o, 3, act=nn.ReLU()), _conv_bn(o, o, 3, act=nn.ReLU()))

        self.down = nn.ModuleList(double(w << n - 1 if n else 3, w << n) for n in range(levels + 1))
        self.wider = nn.ModuleList(nn.ConvTranspose2d(w << n + 1, w << n, 2, 2) for n in range(1, levels))
        self.up = nn.ModuleList(double(w << n + 1, w << n) for n in range(1, levels))
        self.last, self.head = double(3 * w, w), nn.Conv2d(w, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for n, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if n else x)
            skips.append(x)
        for n in reversed(range(len(self.up))):
            x = self.up[n](torch.cat([self.wider[n](x), skips[n + 1]], 1))
        wide = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.head(self.last(torch.cat([wide, skips[0]], 1)))


class SubPixel(nn.Module):
    """ESPCN: super-resolution by pixel shuffle."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 5, 1, 2), nn.Tanh(), nn.Conv2d(width, width // 2, 3, 1, 1), nn.Tanh(),
            nn.Conv2d(width // 2, scale * scale, 3, 1, 1), nn.PixelShuffle(scale),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.body(x))


class FastSuperResolution(nn.Module):
    """FSRCNN: super-resolution by a transposed convolution, with PReLU; ``depth`` of its layers are ``small``."""

    def __init__(self, width: int, scale: int, small: int | None = None, depth: int = 2) -> None:
        super().__init__()
        small = max(4, width // 4) if small is None else small
        middle: list[nn.Module] = []
        for _ in range(depth):
            middle += [nn.Conv2d(small, small, 3, 1, 1), nn.PReLU(small)]
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 5, 1, 2), nn.PReLU(width), nn.Conv2d(width, small, 1), nn.PReLU(small), *middle,
            nn.Conv2d(small, width, 1), nn.PReLU(width),
            nn.ConvTranspose2d(width, 1, 9, scale, 4, output_padding=scale - 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Speech(nn.Module):
    """Convolutions over a spectrogram, then a bidirectional GRU or LSTM and letter scores (DeepSpeech's shape)."""

    def __init__(self, kind: str, mels: int, width: int, hidden: int, letters: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, width, (11, 5), (2, 2), (5, 2)), nn.BatchNorm2d(width), nn.Hardtanh(0, 20),
            nn.Conv2d(width, width, (5, 3), (1, 2), (2, 1)), nn.BatchNorm2d(width), nn.Hardtanh(0, 20),
        )  # fmt: skip
        cell = nn.GRU if kind == "gru" else nn.LSTM
        self.rnn = cell(width * -(-mels // 4), hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, letters)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.unsqueeze(1))
        y = y.transpose(1, 2).flatten(2)
        return F.log_softmax(self.head(self.rnn(y)[0]), -1)
