"""The CIFAR ResNet34: `[B,3,32,32]` pixels in [0,1] in, five feature maps and logits out."""

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


class ResNet34(nn.Module):
    """`width` is the stem's channel count; the stages have 1, 2, 4 and 8 times it."""

    def __init__(self, width=64, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels_in = width
        for stage, blocks in enumerate([3, 4, 6, 3], start=1):
            channels = width << (stage - 1)
            layer = []
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                layer.append(BasicBlock(channels_in, channels, stride))
                channels_in = channels
            setattr(self, f"layer{stage}", nn.Sequential(*layer))
        self.linear = nn.Linear(channels_in, classes)

    def features(self, x):
        """The stem's and the four stages' maps, and the logits."""
        maps = [F.relu(self.bn1(self.conv1(x)))]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps, self.linear(F.avg_pool2d(maps[-1], 4).flatten(1))

    def forward(self, x):
        return self.features(x)[1]
