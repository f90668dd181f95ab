"""Synthetic sine gratings of ten classes, and the training of a small model on them, without a data set.

Class k is a sine grating at an angle of 36 (k mod 5) degrees with 3 (k < 5) or 5 cycles, random
phase and colors, and uniform noise, rounded to 8 bits.
"""

import numpy as np
import torch
from torch.nn import functional as F

from .resnet import ResNet34
from .splitmix import key, uniform

CLASSES = 10
CONTRAST, NOISE = 0.22, 0.45


def gratings(purpose, count):
    """`count` images, `[count,3,32,32]` bytes, and their labels (index mod 10)."""
    y, x = np.mgrid[0:32, 0:32] / 32
    images = np.empty((count, 3, 32, 32), np.uint8)
    for index in range(count):
        label = index % CLASSES
        u = uniform(key(0, f"gratings/{purpose}", [index]), 7 + 3 * 32 * 32)
        angle = np.pi / 5 * (label % 5)
        cycles = 3 if label < 5 else 5
        along = x * np.cos(angle) + y * np.sin(angle)
        wave = np.sin(2 * np.pi * (cycles * along + u[0]))
        mean = 0.5 + 0.3 * (u[1:4] - 0.5)
        contrast = CONTRAST * (2 * u[4:7] - 1)
        noise = NOISE * (2 * u[7:].reshape(3, 32, 32) - 1)
        image = mean[:, None, None] + contrast[:, None, None] * wave + noise
        images[index] = np.rint(image.clip(0, 1) * 255)
    return torch.from_numpy(images), torch.arange(count) % CLASSES


def to_float(images):
    """Bytes as floats in [0,1]."""
    return images.float() / 255


def train(model, epochs=12, count=2000, batch=50):
    """Trains the model in place: SGD with momentum and a cosine schedule, no augmentation."""
    images, labels = gratings("train", count)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * count // batch)
    for epoch in range(epochs):
        model.train()
        order = torch.from_numpy(np.argsort(uniform(key(0, "gratings/order", [epoch]), count)))
        total = 0.0
        for ids in order.split(batch):
            loss = F.cross_entropy(model(to_float(images[ids])), labels[ids])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(ids) / count
        print(f"  epoch {epoch + 1} of {epochs}: loss {total:.3f}", flush=True)
    model.eval()


def model_of(state):
    """The model with the weights of a state dict, in evaluation mode."""
    model = ResNet34(len(state["conv1.weight"]), classes=len(state["linear.bias"]))
    model.load_state_dict(state)
    return model.eval()
