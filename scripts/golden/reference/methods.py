"""Training steps of the methods that attack the model they train (PGD-AT, TRADES, fast-AT, ATTA, AWP) and of the
optimizer's options, in float64.

Adversarial examples are made against the model in evaluation mode; losses are of the model in training mode.
"""

import copy

import numpy as np
import torch
from torch.nn import functional as F

from .resnet import ResNet34
from .splitmix import GOLDEN, key, mix, uniform
from .values import Values

BATCH, EPS, SMOOTHING = 4, 8 / 255, 0.1
# Parameters whose change is kept, and buffers.
KEPT = ("conv1.weight", "layer2.0.conv1.weight", "layer3.5.bn2.bias", "linear.weight")
BUFFERS = ("bn1.running_var", "layer4.2.bn2.running_mean")
# ATTA's augmentations: top, left, mirrored, of each image in each epoch.
WINDOWS = (
    ((0, 0, False), (-4, 3, True), (2, -1, False), (4, 4, True)),
    ((1, -2, True), (0, 0, False), (-3, -4, True), (4, 0, False)),
)


def normal(key, count):
    """`random::normal_at(key, i)` for i in 0..count, float64 rounded to float32."""
    states = np.uint64(key) + np.uint64(GOLDEN) * np.arange(1, 2 * count + 1, dtype=np.uint64)
    u = (mix(states) >> np.uint64(11)).astype(np.float64) / (1 << 53)
    radius = np.sqrt(-2 * np.log(1 - u[::2]))
    return torch.from_numpy((radius * np.cos(2 * np.pi * u[1::2])).astype(np.float32)).double()


def noise(numbers, step, ids):
    """Noise of a batch of images, `numbers(key, count)` for each."""
    keys = [key(0, "inner", [step, i]) for i in ids]
    return torch.stack([numbers(k, 3072).reshape(3, 32, 32) for k in keys])


def uniform_noise(step, ids):
    numbers = lambda k, count: torch.from_numpy(EPS * (2 * uniform(k, count) - 1)).float().double()
    return noise(numbers, step, ids)


def project(x, clean):
    return torch.maximum(torch.minimum(x, clean + EPS), clean - EPS).clamp(0, 1)


def ascend(model, clean, start, steps, size, loss):
    """Signed-gradient steps against the model in evaluation mode."""
    model.eval()
    x = project(start, clean)
    for _ in range(steps):
        x.requires_grad_()
        (grad,) = torch.autograd.grad(loss(model(x)), x)
        x = project(x.detach() + size * grad.sign(), clean)
    model.train()
    return x


def cross_entropy(logits, labels):
    return F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)


class PgdAt:
    """`pgd-at` with three steps, `fast-at` with one."""

    def __init__(self, steps, size):
        self.steps, self.size = steps, size

    def examples(self, model, x, labels, step, ids):
        loss = lambda logits: F.cross_entropy(logits, labels, reduction="sum")
        return ascend(model, x, x + uniform_noise(step, ids), self.steps, self.size, loss)

    def loss(self, model, x, examples, labels):
        return cross_entropy(model(examples), labels)


class Trades:
    def examples(self, model, x, labels, step, ids):
        model.eval()
        clean = F.softmax(model(x), 1).detach()
        start = x + 0.001 * noise(normal, step, ids)
        loss = lambda logits: F.kl_div(F.log_softmax(logits, 1), clean, reduction="sum")
        return ascend(model, x, start, 3, 0.007, loss)

    def loss(self, model, x, examples, labels):
        logits = model(x)
        divergence = F.kl_div(F.log_softmax(model(examples), 1), F.softmax(logits, 1), reduction="batchmean")
        return cross_entropy(logits, labels) + 6 * divergence


class Atta(PgdAt):
    """One step of 4/255 from the perturbation of the epoch before, kept for the padded image."""

    def __init__(self):
        super().__init__(1, 4 / 255)
        units = [normal(key(0, "atta", [0, row]), 3 * 40 * 40) for row in range(BATCH)]
        scale = torch.tensor(0.001).float() / torch.tensor(EPS).float() * 120
        self.kept = [self.level((scale * u.float()).double()).reshape(3, 40, 40) for u in units]

    def level(self, value):
        # Halves away from zero.
        return (value.abs() + 0.5).floor().mul(value.sign()).clamp(-120, 120)

    def examples(self, model, x, labels, step, ids):
        show = lambda kept, window: augmented(kept, window) * (EPS / 120)
        windows = WINDOWS[step]
        start = x + torch.stack([show(k, w) for k, w in zip(self.kept, windows)])
        loss = lambda logits: F.cross_entropy(logits, labels, reduction="sum")
        examples = ascend(model, x, start, self.steps, self.size, loss)
        for kept, window, moved in zip(self.kept, windows, examples - x):
            upright = moved.flip(-1) if window[2] else moved
            crop(kept, window).copy_(self.level(upright * (120 / EPS)))
        return examples


def crop(padded, window):
    """The window of a padded image, not mirrored: a view."""
    top, left, _ = window
    return padded[:, 4 + top : 36 + top, 4 + left : 36 + left]


def augmented(padded, window):
    part = crop(padded, window)
    return part.flip(-1) if window[2] else part


def perturb_weights(model, loss, gamma):
    """AWP's perturbation of the model's weights, by name."""
    proxy = copy.deepcopy(model)
    loss(proxy).backward()
    moves = {}
    for (name, w), (_, p) in zip(model.named_parameters(), proxy.named_parameters()):
        if w.dim() > 1:
            moves[name] = gamma * w.detach().norm() / p.grad.norm() * p.grad
    return moves


def softened(state):
    """The same model with a tenth of its logits: not so sure that float32 has no digits left for the divergence."""
    return state | {n: state[n] / 10 for n in ("linear.weight", "linear.bias")}


def training(state, batches, method, awp=0.0, clip=None):
    """Two steps of a method; the losses, and the changes of some tensors."""
    model = ResNet34(width=4).double()
    model.load_state_dict(state)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    sgd = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=5e-4, nesterov=True)
    losses = []
    for step, (x, labels, ids) in enumerate(batches):
        examples = method.examples(model, x, labels, step, ids)
        loss_of = lambda model: method.loss(model, x, examples, labels)
        moves = perturb_weights(model, loss_of, awp) if awp else {}
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, by in moves.items():
                parameters[name] += by
        sgd.zero_grad()
        loss = loss_of(model)
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        sgd.step()
        with torch.no_grad():
            for name, by in moves.items():
                parameters[name] -= by
        losses.append(loss.detach())
    after = model.state_dict()
    changes = {f"change/{n}": after[n] - before[n] for n in (*KEPT, *BUFFERS)}
    return {"losses": torch.stack(losses), **changes}


def gradients(state, batch, method):
    """Examples of a batch, the loss on them, and the gradients of some parameters."""
    model = ResNet34(width=4).double()
    model.load_state_dict(state)
    x, labels, ids = batch
    # Exact in float32, so that both sides have the same.
    examples = method.examples(model, x, labels, 0, ids).float().double()
    loss = method.loss(model, x, examples, labels)
    loss.backward()
    parameters = dict(model.named_parameters())
    return {"examples": examples, "loss": loss.detach()} | {f"grad/{n}": parameters[n].grad for n in KEPT}


def methods(state, images, labels):
    """The file `methods`, from the model and the images of `attacks`."""
    x = images.double() / 255
    x = x.float().double()
    plain = [
        (x[ids], labels[ids], ids.tolist()) for ids in (torch.arange(BATCH), torch.arange(BATCH, 2 * BATCH))
    ]
    padded = F.pad(x[:BATCH], (4, 4, 4, 4))
    shown = [torch.stack([augmented(p, w) for p, w in zip(padded, windows)]) for windows in WINDOWS]
    ids = torch.arange(BATCH)
    cases = {
        "pgd-at": training(state, plain, PgdAt(3, 3 / 255)),
        "pgd-at/awp": training(state, plain, PgdAt(3, 3 / 255), awp=0.01),
        "fast-at": training(state, plain, PgdAt(1, 10 / 255), clip=0.5),
        "trades": gradients(softened(state), plain[0], Trades()),
        "atta": training(state, [(s, labels[:BATCH], ids.tolist()) for s in shown], Atta()),
    }
    values = Values()
    for case, tensors in cases.items():
        for name, tensor in tensors.items():
            values[f"{case}/{name}"] = tensor.float()
    return {"methods": values}
