"""Ten classes of procedural pictures, and a thin net trained on them: no data set is needed.

Class k is a sine grating of angle 36 (k mod 5) degrees with 3 (k < 5) or 5 cycles, of random
phase and colors, under uniform noise, rounded to 8 bits.
"""

import numpy as np
import torch
from torch.nn import functional as F

from .resnet import ResNet34
from .splitmix import key, uniform

CONTRAST, NOISE = 0.22, 0.45


def gratings(purpose, count):
    """`count` pictures, `[count,3,32,32]` bytes, and their labels (index mod 10)."""
    y, x = np.mgrid[0:32, 0:32] / 32
    pictures = np.empty((count, 3, 32, 32), np.uint8)
    for index in range(count):
        label = index % 10
        u = uniform(key(0, f"gratings/{purpose}", [index]), 7 + 3 * 32 * 32)
        angle = np.pi / 5 * (label % 5)
        cycles = 3 if label < 5 else 5
        along = x * np.cos(angle) + y * np.sin(angle)
        wave = np.sin(2 * np.pi * (cycles * along + u[0]))
        mean = 0.5 + 0.3 * (u[1:4] - 0.5)
        contrast = CONTRAST * (2 * u[4:7] - 1)
        noise = NOISE * (2 * u[7:].reshape(3, 32, 32) - 1)
        picture = mean[:, None, None] + contrast[:, None, None] * wave + noise
        pictures[index] = np.rint(picture.clip(0, 1) * 255)
    return torch.from_numpy(pictures), torch.arange(count) % 10


def to_float(pictures):
    return pictures.float() / 255


def train(net, epochs=12, count=2000, batch=50):
    """Trains `net` in place: SGD with momentum and a cosine schedule, no augmentation."""
    pictures, labels = gratings("train", count)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, 0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * count // batch)
    for epoch in range(epochs):
        net.train()
        order = torch.from_numpy(np.argsort(uniform(key(0, "gratings/order", [epoch]), count)))
        total = 0.0
        for ids in order.split(batch):
            loss = F.cross_entropy(net(to_float(pictures[ids])), labels[ids])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(ids) / count
        print(f"  epoch {epoch + 1} of {epochs}: loss {total:.3f}", flush=True)
    net.eval()


def net_of(state):
    """The net of a state dict, in evaluation mode."""
    net = ResNet34(width=state["conv1.weight"].shape[0])
    net.load_state_dict(state)
    return net.eval()
