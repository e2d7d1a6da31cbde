"""The residual networks of He et al. (2016) up to their last feature map, under the names that checkpoints use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.errors import ExportError

#: Blocks in each of the four stages, and whether a block is a bottleneck.
KINDS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
Norm = Callable[[int], nn.Module]


class FrozenNorm(nn.Module):
    """Batch normalisation whose statistics and weights are all buffers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-5)


def group_norm(channels: int) -> nn.Module:
    """Groups of 16 channels."""
    return nn.GroupNorm(channels // 16, channels)


def _conv(inside: int, outside: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (size // 2)
    return nn.Conv2d(inside, outside, size, stride, padding, dilation, bias=False)


class Plain(nn.Module):
    """Two 3×3 convolutions and a way around them."""

    WIDER = 1

    def __init__(self, inside: int, width: int, stride: int, dilation: int, norm: Norm) -> None:
        super().__init__()
        if dilation > 1:
            raise ExportError(
                "a dilated last stage needs bottleneck blocks",
                expected="replace_final_stride_with_dilation with resnet50 or larger",
                got="resnet18 or resnet34",
            )
        self.conv1, self.bn1 = _conv(inside, width, 3, stride), norm(width)
        self.conv2, self.bn2 = _conv(width, width, 3), norm(width)
        self.downsample = _around(inside, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1×1, 3×3 (which strides) and 1×1 to four times the width."""

    WIDER = 4

    def __init__(self, inside: int, width: int, stride: int, dilation: int, norm: Norm) -> None:
        super().__init__()
        outside = width * self.WIDER
        self.conv1, self.bn1 = _conv(inside, width, 1), norm(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride, dilation), norm(width)
        self.conv3, self.bn3 = _conv(width, outside, 1), norm(outside)
        self.downsample = _around(inside, outside, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return functional.relu(out + (x if self.downsample is None else self.downsample(x)))


def _around(inside: int, outside: int, stride: int, norm: Norm) -> nn.Sequential | None:
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(_conv(inside, outside, 1, stride), norm(outside))


def layers(kind: str, norm: Norm, *, dilate_last: bool = False) -> tuple[dict[str, nn.Module], int]:
    """The network's parts by name, in order, and the channels of its last feature map.

    Args:
        kind: `resnet18` and so on.
        norm: Makes the normalisation of so many channels.
        dilate_last: The last stage keeps its resolution and dilates its convolutions instead.

    Raises:
        ExportError: An unknown kind, or a dilation that its blocks cannot do.
    """
    if kind not in KINDS:
        raise ExportError(f"vision backbone {kind!r} is not supported", expected=", ".join(KINDS), got=repr(kind))
    counts, deep = KINDS[kind]
    block: type[Plain | Bottleneck] = Bottleneck if deep else Plain
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        "bn1": norm(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    channels = 64
    for index, (count, (width, stride)) in enumerate(zip(counts, _STAGES, strict=True), start=1):
        dilate = dilate_last and index == len(_STAGES)
        # The first block of a dilated stage still has the dilation of the stage before it.
        made = [block(channels, width, 1 if dilate else stride, 1, norm)]
        channels = width * block.WIDER
        made += [block(channels, width, 1, 2 if dilate else 1, norm) for _ in range(count - 1)]
        parts[f"layer{index}"] = nn.Sequential(*made)
    return parts, channels
