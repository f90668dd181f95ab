"""What the golden values of all evaluation attacks share: attacked model and images, precision, thinning."""

import torch

from ..gratings import model_of, to_float

NORMS = ("Linf", "L2")
STRIDE = 31


class Contiguous(torch.autograd.Function):
    """Identity whose gradient is contiguous, as the reference's `view` expects."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient.contiguous()


class InDouble:
    """A model computed in float64 of float32 pixels, with float32 gradients: the iterates of an attack then do not
    depend on the order in which a convolution adds. The logits are float32, or `logits`."""

    def __init__(self, state):
        self.model, self.logits = model_of(state).double().requires_grad_(False), torch.float32

    def __call__(self, x):
        return self.model(Contiguous.apply(x).double()).to(self.logits)


def attacked(golden, rows):
    """The attacked model in float64; of its images these rows as floats, and their labels."""
    state, values = golden("attacks_weights"), golden("attacks")
    return InDouble(state), to_float(values["images"])[rows], values["labels"][rows]


def few(x):
    """Of each image's 3072 pixels every 31st, `[B,100]`."""
    return x.detach().flatten(1)[:, ::STRIDE].clone()
