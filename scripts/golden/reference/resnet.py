"""ResNets in their CIFAR form: `[B,3,32,32]` pixels in [0,1] to five feature maps and logits."""

from torch import nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class PreActBlock(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False))

    def forward(self, x):
        out = F.relu(self.bn1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(out)))) + shortcut


def stages(model, block, width, blocks):
    """Adds layer1 to layer4 to the model; the channels of the last."""
    channels_in = width
    for stage, count in enumerate(blocks, start=1):
        channels = width << (stage - 1)
        layer = []
        for index in range(count):
            stride = 2 if stage > 1 and index == 0 else 1
            layer.append(block(channels_in, channels, stride))
            channels_in = channels
        setattr(model, f"layer{stage}", nn.Sequential(*layer))
    return channels_in


class ResNet(nn.Module):
    """`width` is the stem's channel count; the stages have 1, 2, 4 and 8 times it."""

    def __init__(self, blocks, width=64, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.linear = nn.Linear(stages(self, BasicBlock, width, blocks), classes)

    def features(self, x):
        """The stem's and the four stages' maps, and the logits."""
        maps = [F.relu(self.bn1(self.conv1(x)))]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps, self.linear(F.avg_pool2d(maps[-1], 4).flatten(1))

    def forward(self, x):
        return self.features(x)[1]


class ResNet34(ResNet):
    def __init__(self, width=64, classes=10):
        super().__init__([3, 4, 6, 3], width, classes)


class ResNet18(ResNet):
    def __init__(self, width=64, classes=10):
        super().__init__([2, 2, 2, 2], width, classes)


class PreActResNet18(nn.Module):
    """With a last normalization and ReLU, as in the paper; the maps are the unactivated sums."""

    def __init__(self, width=64, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        channels = stages(self, PreActBlock, width, [2, 2, 2, 2])
        self.bn = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, classes)

    def features(self, x):
        """The stem's and the four stages' maps, and the logits."""
        maps = [self.conv1(x)]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        out = F.relu(self.bn(maps[-1]))
        return maps, self.linear(F.avg_pool2d(out, 4).flatten(1))

    def forward(self, x):
        return self.features(x)[1]
