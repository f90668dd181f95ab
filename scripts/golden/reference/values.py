"""Golden values: weights and inputs by formula, thinning of large tensors, and rounding errors.

The docstring of `scripts/golden/golden` has the rules.
"""

import math

import numpy as np
import torch

from .splitmix import key, uniform

LIMIT = 6144


def uniform_of(name, shape):
    """Uniform random numbers keyed by a tensor's name, float64."""
    count = math.prod(shape)
    return torch.from_numpy(uniform(key(0, "golden/" + name), count)).reshape(shape)


def formula(name, shape):
    """A tensor's values by its name: float64, rounded to float32."""
    u, last = uniform_of(name, shape), name.rsplit(".", 1)[-1]
    if last in ("cls_token", "pos_emb", "running_mean"):
        value = (2 * u - 1) * 0.1
    elif last == "bias":
        value = (2 * u - 1) * 0.2
    elif last == "running_var":
        value = 0.5 + u
    elif last == "weight" and len(shape) == 1:
        value = 0.75 + 0.5 * u
    elif last == "weight":
        value = (2 * u - 1) * math.sqrt(3 / math.prod(shape[1:]))
    else:
        value = u
    return value.float().double()


def fill(model):
    """Sets every parameter and floating-point buffer of the model by the formula."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(formula(name, tensor.shape))
    return model


def thin(tensor):
    """A small tensor whole; of a large one, flattened, every s-th element."""
    count = tensor.numel()
    stride = 1 if count <= LIMIT else math.ceil(count / LIMIT) | 1
    return tensor.clone() if stride == 1 else tensor.flatten()[::stride].clone()


class Values(dict):
    """The tensors of one file, by name."""

    def add(self, name, value, other=None):
        """Stores `value`, rounded to float32 and thinned, and as `miss/NAME` its largest distance to
        `other`, which is the same tensor computed in the other precision."""
        value = value.detach()
        self[name] = thin(value.float())
        if other is not None:
            distance = (value.double() - other.detach().double()).abs().max()
            self["miss/" + name] = distance.float()

    def add_both(self, compute, prefix=""):
        """Stores the float64 tensors of the dict `compute(dtype)`, and their distances to the float32 ones."""
        exact, rounded = compute(torch.float64), compute(torch.float32)
        for name, value in exact.items():
            self.add(prefix + name, value, rounded[name])


def differences(computed, committed):
    """Differences of a file's tensors to the committed ones: (lines to print, whether it is an error)."""
    if computed.keys() != committed.keys():
        return [f"names differ: {sorted(computed.keys() ^ committed.keys())}"], True
    lines, wrong = [], False
    for name, new in computed.items():
        old = committed[name]
        if (new.shape, new.dtype) != (old.shape, old.dtype):
            lines.append(f"{name}: shape or type differs")
            wrong = True
        elif not torch.equal(new, old):
            distance, scale = (new.double() - old.double()).abs(), old.double().abs().max()
            share = (distance > 1e-3 * scale).double().mean().item()
            # A miss is itself a rounding error; a few gradient signs and stopping decisions depend on rounding too.
            bad = share > 0.02 and not name.startswith("miss/")
            wrong |= bad
            lines.append(
                f"{name}: largest difference {distance.max():.1e} of {scale:.1e}, "
                f"{100 * share:.2f}% beyond 1/1000{'  <- WRONG' if bad else ''}"
            )
    return lines or [f"{len(computed)} tensors, all identical"], wrong
