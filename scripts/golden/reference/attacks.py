"""Reference attacks, written from their papers' definitions: all but Gaussian noise.

They perturb images `[B,3,32,32]` in [0,1] with labels `[B]`, against a model in evaluation mode.
Images do not influence each other: losses are sums over the batch, and every decision is made per
image. Iterative attacks also return their trace, the list of the iterates after each step. All of
them work in float32 and float64.
"""

import torch
from torch.nn import functional as F

from . import splitmix

CIFAR10_STD = (0.2023, 0.1994, 0.2010)


def per_image(values):
    """`[B]` values, reshaped to broadcast over `[B,3,32,32]`."""
    return values.view(-1, 1, 1, 1)


def l2(x, clean):
    """The L2 norm of each image's perturbation, `[B]`."""
    return (x - clean).flatten(1).norm(dim=1)


def fooled(model, x, labels):
    """Whether the model misclassifies each image, `[B]`."""
    with torch.no_grad():
        return model(x).argmax(1) != labels


def channel_steps(step, x):
    """`step` divided by each channel's standard deviation (the `paper` preset's steps)."""
    return step / torch.tensor(CIFAR10_STD, dtype=x.dtype).view(1, 3, 1, 1)


def loss_gradient(model, x, labels):
    """The gradient of the summed cross entropy with respect to the images."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)[0]


def random_start(x, eps, purpose, seed=0):
    """`x` plus uniform noise in [-eps, eps), keyed by (seed, purpose, index in the batch), clipped."""
    keys = (splitmix.key(seed, purpose, (index,)) for index in range(len(x)))
    uniform = [torch.from_numpy(splitmix.uniform(key, x[0].numel())) for key in keys]
    noise = (eps * (2 * torch.stack(uniform) - 1)).float().view_as(x)
    return (x + noise.to(x.dtype)).clamp(0, 1)


def sign_steps(model, x, labels, steps, eps=None, start=None):
    """FGSM, BIM and, from a random `start`, PGD: one signed-gradient step for each entry of `steps`
    (numbers or tensors), followed by the projection onto the Linf ball of radius `eps` around the
    clean image (if given) and onto [0,1].

    Returns the last iterate and each pixel's smallest |gradient| over the steps.
    """
    clean, smallest = x, torch.full_like(x, torch.inf)
    x = clean if start is None else start
    for step in steps:
        gradient = loss_gradient(model, x, labels)
        smallest = torch.minimum(smallest, gradient.abs())
        x = x + step * gradient.sign()
        if eps is not None:
            x = torch.minimum(torch.maximum(x, clean - eps), clean + eps)
        x = x.clamp(0, 1)
    return x, smallest


def deepfool(model, x, labels, steps, overshoot):
    """DeepFool (L2) over all classes, starting from the label; each iterate is clipped to [0,1].

    Returns the trace and the number of steps per image (0 where the clean image is misclassified).
    """
    trace, taken = [], torch.zeros_like(labels)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        logits = model(x)
        per_class = [
            torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0].flatten(1)
            for k in range(logits.shape[1])
        ]
        gradients = torch.stack(per_class, 1).detach()
        logits, x = logits.detach(), x.detach()
        active = logits.argmax(1) == labels
        row = torch.arange(len(x))
        f = logits - logits[row, labels].unsqueeze(1)
        w = gradients - gradients[row, labels].unsqueeze(1)
        distance = f.abs() / w.norm(dim=2)
        distance[row, labels] = torch.inf
        nearest = distance.argmin(1)
        f, w = f[row, nearest].abs(), w[row, nearest]
        step = (f / w.norm(dim=1) ** 2).unsqueeze(1) * w
        moved = (x + (1 + overshoot) * step.view_as(x)).clamp(0, 1)
        x = torch.where(per_image(active), moved, x)
        taken += active
        trace.append(x)
    return trace, taken


class Adam:
    """Adam on one tensor with PyTorch's betas and epsilon; images that are not active keep their values."""

    def __init__(self, x, lr):
        self.mean, self.square, self.lr, self.step = torch.zeros_like(x), torch.zeros_like(x), lr, 0

    def update(self, x, gradient, active):
        self.step += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        mean = self.mean / (1 - 0.9**self.step)
        root = (self.square / (1 - 0.999**self.step)).sqrt()
        return torch.where(per_image(active), x - self.lr * mean / (root + 1e-8), x)


def cw_standard(model, clean, labels, c=1.0, kappa=0.0, steps=100, lr=0.01):
    """Carlini and Wagner's L2 attack in tanh space: minimizes norm2(x' - x)^2 + c max(margin, -kappa),
    with margin = logit of the label - largest other logit and x' = (tanh(w) + 1) / 2, by Adam on w
    from atanh(0.999999 (2x - 1)).

    The best is the evaluated x' of the smallest L2 norm with margin < 0 (<= -kappa for kappa > 0),
    or the clean image where there is none. An image that is misclassified at the start takes no
    step. Early stopping: the cost is checked at every step divisible by steps / 10, and an image
    stops where it exceeds the cost at the previous check (x' of that step still counts). The trace
    has x' after each step.

    Returns the best, the trace, the number of Adam steps, and each pixel's smallest
    |d cost / d w| over the first three steps.
    """
    active = ~fooled(model, clean, labels)
    w = torch.atanh((2 * clean - 1) * 0.999999)
    adam = Adam(w, lr)
    best, best_l2 = clean, torch.where(active, torch.inf, 0.0).to(clean.dtype)
    previous = torch.full_like(best_l2, torch.inf)
    trace, taken = [], torch.zeros_like(labels)
    smallest = torch.full_like(clean, torch.inf)
    for step in range(steps):
        w = w.detach().requires_grad_()
        x = (torch.tanh(w) + 1) / 2
        logits = model(x)
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
        best = torch.where(per_image(better), x.detach(), best)
        best_l2 = torch.where(better, distance, best_l2)

        if step % max(steps // 10, 1) == 0:
            active = active & (cost <= previous)
            previous = cost
        w = adam.update(w.detach(), gradient, active)
        taken += active
        trace.append((torch.tanh(w) + 1) / 2)
    return best, trace, taken, smallest


def cw_paper(model, clean, labels, c=1.0, kappa=0.0, steps=100, lr=0.005):
    """The C&W attack of the preset `paper`: Adam in pixel space, unclipped, from the clean image, on
    norm2(x' - x)^2 + c max(logit of the label - logit of the runner-up, -kappa). The runner-up is
    the class other than the label with the largest logit on the clean image, and is not updated.

    Every iterate, and the clean image, is clipped and classified; the result is the misclassified
    one of the smallest L2 norm, or the last iterate, clipped, where there is none.

    Returns the result, the unclipped trace, and each pixel's smallest |d cost / d x'| over the
    first three steps.
    """
    with torch.no_grad():
        runner_up = model(clean).scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1, keepdim=True)
    x, adam, all_active = clean, Adam(clean, lr), torch.ones_like(labels, dtype=torch.bool)
    best = clean
    best_l2 = torch.where(fooled(model, clean, labels), 0.0, torch.inf).to(clean.dtype)
    trace, smallest = [], torch.full_like(clean, torch.inf)
    for step in range(steps):
        x = x.detach().requires_grad_()
        logits = model(x)
        margin = (logits.gather(1, labels.unsqueeze(1)) - logits.gather(1, runner_up)).squeeze(1)
        cost = (x - clean).flatten(1).square().sum(1) + c * margin.clamp(min=-kappa)
        (gradient,) = torch.autograd.grad(cost.sum(), x)
        if step < 3:
            smallest = torch.minimum(smallest, gradient.abs())
        x = adam.update(x.detach(), gradient, all_active)
        trace.append(x)

        clipped = x.clamp(0, 1)
        distance = l2(clipped, clean)
        better = fooled(model, clipped, labels) & (distance < best_l2)
        best = torch.where(per_image(better), clipped, best)
        best_l2 = torch.where(better, distance, best_l2)
    best = torch.where(per_image(best_l2.isinf()), x.clamp(0, 1), best)
    return best, trace, smallest


def nst_paper(model, x, styles, steps=10, lr=0.1, momentum=0.9, weight_decay=5e-4):
    """Style transfer of the preset `paper`: SGD on the pixels, unclipped, on the mean squared error
    between the feature maps of the image and those of the style image, of stage 1 plus of stage 4.

    Returns the trace and the loss before each step, `[steps,B]`.
    """
    with torch.no_grad():
        targets = model.features(styles)[0]
    trace, losses, velocity = [], [], torch.zeros_like(x)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        maps = model.features(x)[0]
        loss = sum((maps[k] - targets[k]).flatten(1).square().mean(1) for k in (1, 4))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        # In PyTorch the first velocity is the first gradient, as it is from a velocity of 0.
        velocity = momentum * velocity + gradient + weight_decay * x.detach()
        x = x.detach() - lr * velocity
        trace.append(x)
        losses.append(loss.detach())
    return trace, torch.stack(losses)
