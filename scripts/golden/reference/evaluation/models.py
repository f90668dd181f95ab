"""Two small models of synthetic images: trained naturally, and adversarially."""

import pathlib

import numpy as np
import torch
from torch.nn import functional as F

from ..resnet import ResNet18
from ..splitmix import key, uniform
from ..values import fill
from .common import Contiguous

WIDTH, CLASSES = 4, 10
# Metadata of the weights: what the Rust programs build from them.
METADATA = {"architecture": "resnet18", "format": "pt"}
EPS, STEPS, STEP = 8 / 255, 3, 4 / 255


def read(data, names):
    """Bytes `[N,3,32,32]` and labels of CIFAR-10's binary files in the folder `data`."""
    records = [np.fromfile(pathlib.Path(data) / name, np.uint8).reshape(-1, 3073) for name in names]
    records = torch.from_numpy(np.concatenate(records))
    return records[:, 1:].reshape(-1, 3, 32, 32).clone(), records[:, 0].long()


def perturbed(model, x, y, noise):
    """PGD from a random start, against the model in evaluation mode."""
    model.eval()
    point = (x + EPS * noise).clamp(0, 1)
    for _ in range(STEPS):
        point.requires_grad_()
        gradient = torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)[0]
        point = point.detach() + STEP * gradient.sign()
        point = torch.minimum(torch.maximum(point, x - EPS), x + EPS).clamp(0, 1)
    model.train()
    return point.detach()


def train(data, adversarial, epochs, batch=100):
    """The state dict of a model trained by SGD with momentum and a cosine schedule, without augmentation; if
    adversarial, on perturbed images."""
    images, labels = read(data, [f"data_batch_{i}.bin" for i in range(1, 6)])
    model = fill(ResNet18(WIDTH, CLASSES))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_parameters()
    count = len(images)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * count // batch)
    random = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        model.train()
        order = torch.from_numpy(np.argsort(uniform(key(0, "models/order", [epoch]), count)))
        total = 0.0
        for ids in order.split(batch):
            x, y = images[ids].float() / 255, labels[ids]
            if adversarial:
                x = perturbed(model, x, y, 2 * torch.rand(x.shape, generator=random) - 1)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(ids) / count
        model.eval()
        x, y = read(data, ["test_batch.bin"])
        with torch.no_grad():
            accuracy = (model(x.float() / 255).argmax(1) == y).double().mean()
        print(f"  epoch {epoch + 1} of {epochs}: loss {total:.3f}, accuracy {accuracy:.3f}", flush=True)
    return {n: t for n, t in model.state_dict().items() if t.is_floating_point()}


def logits_of(state):
    """The logits of the model with this state dict, in evaluation mode and float32, as a function of pixels."""
    model = ResNet18(WIDTH, CLASSES)
    model.load_state_dict(state, strict=False)
    model.eval().requires_grad_(False)
    return lambda x: model(Contiguous.apply(x))
