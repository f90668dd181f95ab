"""The attacks but Gaussian noise, written from their definitions: pictures `[B,3,32,32]` in
[0,1], labels `[B]` and a net in evaluation mode in; the perturbed pictures out.

Pictures never influence each other: losses are sums over the batch, every choice is made per
picture. Iterative attacks also return their trace, a list of what they held after each step.
Everything works in float32 and float64.
"""

import torch
from torch.nn import functional as F

from . import splitmix

CIFAR10_STD = (0.2023, 0.1994, 0.2010)


def per_picture(values):
    """`[B]` numbers in a shape that multiplies `[B,3,32,32]`."""
    return values.view(-1, 1, 1, 1)


def l2(x, clean):
    return (x - clean).flatten(1).norm(dim=1)


def fooled(net, x, labels):
    with torch.no_grad():
        return net(x).argmax(1) != labels


def channel_steps(step, x):
    """`step` divided by each channel's standard deviation (the `paper` preset's steps)."""
    return step / torch.tensor(CIFAR10_STD, dtype=x.dtype).view(1, 3, 1, 1)


def loss_gradient(net, x, labels):
    """The gradient of the summed cross entropy in the pictures."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(net(x), labels, reduction="sum"), x)[0]


def random_start(x, eps, purpose, seed=0):
    """`x` plus uniform noise in [-eps, eps), keyed by (seed, purpose, index in the batch), clipped."""
    keys = (splitmix.key(seed, purpose, (index,)) for index in range(len(x)))
    uniform = [torch.from_numpy(splitmix.uniform(key, x[0].numel())) for key in keys]
    noise = (eps * (2 * torch.stack(uniform) - 1)).float().view_as(x)
    return (x + noise.to(x.dtype)).clamp(0, 1)


def sign_steps(net, x, labels, steps, eps=None, start=None):
    """FGSM, BIM and, from a random `start`, PGD: a signed-gradient step for each entry of `steps` (numbers or tensors), each
    followed by the projection into the `eps` box around the clean picture (if given) and [0,1].

    Returns the last picture and the smallest |gradient| each pixel ever had.
    """
    clean, smallest = x, torch.full_like(x, torch.inf)
    x = clean if start is None else start
    for step in steps:
        gradient = loss_gradient(net, x, labels)
        smallest = torch.minimum(smallest, gradient.abs())
        x = x + step * gradient.sign()
        if eps is not None:
            x = torch.minimum(torch.maximum(x, clean - eps), clean + eps)
        x = x.clamp(0, 1)
    return x, smallest


def deepfool(net, x, labels, steps, overshoot):
    """DeepFool L2 over all classes from the label, each step clipped to [0,1].

    Returns the trace and the steps each picture took (0 where it was misclassified at first).
    """
    trace, taken = [], torch.zeros_like(labels)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        logits = net(x)
        rows = [
            torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0].flatten(1)
            for k in range(logits.shape[1])
        ]
        gradients = torch.stack(rows, 1).detach()
        logits, x = logits.detach(), x.detach()
        active = logits.argmax(1) == labels
        picture = torch.arange(len(x))
        f = logits - logits[picture, labels].unsqueeze(1)
        w = gradients - gradients[picture, labels].unsqueeze(1)
        distance = f.abs() / w.norm(dim=2)
        distance[picture, labels] = torch.inf
        nearest = distance.argmin(1)
        f, w = f[picture, nearest].abs(), w[picture, nearest]
        step = (f / w.norm(dim=1) ** 2).unsqueeze(1) * w
        moved = (x + (1 + overshoot) * step.view_as(x)).clamp(0, 1)
        x = torch.where(per_picture(active), moved, x)
        taken += active
        trace.append(x)
    return trace, taken


class Adam:
    """Adam of one tensor with PyTorch's betas and epsilon; a held picture keeps its value."""

    def __init__(self, x, lr):
        self.mean, self.square, self.lr, self.step = torch.zeros_like(x), torch.zeros_like(x), lr, 0

    def update(self, x, gradient, active):
        self.step += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        mean = self.mean / (1 - 0.9**self.step)
        root = (self.square / (1 - 0.999**self.step)).sqrt()
        return torch.where(per_picture(active), x - self.lr * mean / (root + 1e-8), x)


def cw_standard(net, clean, labels, c=1.0, kappa=0.0, steps=100, lr=0.01):
    """Carlini and Wagner's L2 in tanh space: minimize norm2(x' - x)^2 + c max(margin, -kappa),
    margin = true logit - largest other, x' = (tanh(w) + 1) / 2, w by Adam from
    atanh(0.999999 (2x - 1)).

    The best is the evaluated x' of the smallest L2 with margin < 0 (<= -kappa for kappa > 0); the
    clean picture where there is none, and for a picture misclassified at first, which takes no
    step. A picture stops where its cost at a step divisible by steps / 10 exceeds the cost at the
    step before that (its x' at that step still counts). The trace holds x' after each step.

    Returns the best, the trace, the Adam steps taken, and each pixel's smallest
    |d cost / d w| over the first three steps.
    """
    active = ~fooled(net, clean, labels)
    w = torch.atanh((2 * clean - 1) * 0.999999)
    adam = Adam(w, lr)
    best, best_l2 = clean, torch.where(active, torch.inf, 0.0).to(clean.dtype)
    previous = torch.full_like(best_l2, torch.inf)
    trace, taken = [], torch.zeros_like(labels)
    smallest = torch.full_like(clean, torch.inf)
    for step in range(steps):
        w = w.detach().requires_grad_()
        x = (torch.tanh(w) + 1) / 2
        logits = net(x)
        true = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
        other = logits.scatter(1, labels.unsqueeze(1), -torch.inf).amax(1)
        margin = true - other
        square = (x - clean).flatten(1).square().sum(1)
        cost = square + c * margin.clamp(min=-kappa)
        (gradient,) = torch.autograd.grad(cost.sum(), w)
        if step < 3:
            smallest = torch.minimum(smallest, gradient.abs())

        margin, cost, distance = margin.detach(), cost.detach(), square.detach().sqrt()
        success = (margin < 0) & (margin <= -kappa)
        better = active & success & (distance < best_l2)
        best = torch.where(per_picture(better), x.detach(), best)
        best_l2 = torch.where(better, distance, best_l2)

        if step % max(steps // 10, 1) == 0:
            active = active & (cost <= previous)
            previous = cost
        w = adam.update(w.detach(), gradient, active)
        taken += active
        trace.append((torch.tanh(w) + 1) / 2)
    return best, trace, taken, smallest


def cw_paper(net, clean, labels, c=1.0, kappa=0.0, steps=100, lr=0.005):
    """The `paper` preset's C&W: Adam on the pixels themselves, unclipped, from the clean picture,
    on norm2(x' - x)^2 + c max(true logit - logit of the clean runner-up, -kappa); the clean
    runner-up is the largest clean logit of another class than the label, and stays.

    Every iterate, the clean picture first, is clipped and classified; the result is the clipped
    iterate that is misclassified at the smallest L2, else the last one, clipped.

    Returns the result, the unclipped trace, and each pixel's smallest |d cost / d x'| over the
    first three steps.
    """
    with torch.no_grad():
        rival = net(clean).scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1, keepdim=True)
    x, adam, everyone = clean, Adam(clean, lr), torch.ones_like(labels, dtype=torch.bool)
    best = clean
    best_l2 = torch.where(fooled(net, clean, labels), 0.0, torch.inf).to(clean.dtype)
    trace, smallest = [], torch.full_like(clean, torch.inf)
    for step in range(steps):
        x = x.detach().requires_grad_()
        logits = net(x)
        margin = (logits.gather(1, labels.unsqueeze(1)) - logits.gather(1, rival)).squeeze(1)
        cost = (x - clean).flatten(1).square().sum(1) + c * margin.clamp(min=-kappa)
        (gradient,) = torch.autograd.grad(cost.sum(), x)
        if step < 3:
            smallest = torch.minimum(smallest, gradient.abs())
        x = adam.update(x.detach(), gradient, everyone)
        trace.append(x)

        clipped = x.clamp(0, 1)
        distance = l2(clipped, clean)
        better = fooled(net, clipped, labels) & (distance < best_l2)
        best = torch.where(per_picture(better), clipped, best)
        best_l2 = torch.where(better, distance, best_l2)
    best = torch.where(per_picture(best_l2.isinf()), x.clamp(0, 1), best)
    return best, trace, smallest


def nst_paper(net, x, styles, steps=10, lr=0.1, momentum=0.9, weight_decay=5e-4):
    """The `paper` preset's style transfer: SGD on the picture, unclipped, on the mean squared
    distance of its stage-1 map plus that of its stage-4 map to the style picture's.

    Returns the trace and the losses before each step, `[steps,B]`.
    """
    with torch.no_grad():
        targets = net.features(styles)[0]
    trace, losses, velocity = [], [], torch.zeros_like(x)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        maps = net.features(x)[0]
        loss = sum((maps[k] - targets[k]).flatten(1).square().mean(1) for k in (1, 4))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        # PyTorch's first velocity is the first gradient: zero times momentum plus it.
        velocity = momentum * velocity + gradient + weight_decay * x.detach()
        x = x.detach() - lr * velocity
        trace.append(x)
        losses.append(loss.detach())
    return trace, torch.stack(losses)
