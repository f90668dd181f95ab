"""Projections onto a hyperplane within the box [0,1]: the reference's, and brute force in float64."""

import numpy as np
import torch
from scipy.optimize import linprog, minimize

from ..values import Values, formula
from .common import NORMS

KINDS = ("inside", "faces", "zeros", "infeasible", "there", "corner", "small", "zero")


def case(rng, kind, dim):
    """Point, normal and constant of one hyperplane, float32."""
    x, w = rng.uniform(size=dim), rng.normal(size=dim)
    if kind in ("faces", "corner"):
        x = np.where(rng.uniform(size=dim) < 0.5, np.rint(x), x)
    if kind == "zeros":
        w = np.where(rng.uniform(size=dim) < 0.4, 0, w)
    if kind == "zero":
        w = np.zeros(dim)
    if kind == "small":
        w = w * 1e-3
    x, w = x.astype(np.float32), w.astype(np.float32)
    largest = w[w > 0].sum()
    b = {
        "infeasible": largest + 0.1 if rng.uniform() < 0.5 else w[w < 0].sum() - 0.1,
        "there": w.astype(np.float64) @ x,
        "corner": 0.97 * largest + 0.03 * (w @ x),
        "zero": rng.choice([-1.0, 0.0, 1.0]),
    }.get(kind, w @ rng.uniform(size=dim))
    return x, w, np.float32(b)


def brute_force(norm, x, w, b):
    """The least displacement, by bisection of the multiplier of the constraint; checked in low dimension."""
    x, w = np.float64(x), np.float64(w)
    excess = w @ x - np.float64(b)
    downhill = -1.0 if excess >= 0 else 1.0
    room = np.where(downhill * w > 0, 1 - x, x) * (w != 0)
    rate = np.abs(w) if norm == "L2" else np.ones_like(w)

    def reached(t):
        return (np.abs(w) * np.minimum(t * rate, room)).sum()

    feasible = reached(1e12) > abs(excess)
    if not feasible:
        return downhill * np.sign(w) * room
    low, high = 0.0, 1e12
    for _ in range(300):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= abs(excess) else (middle, high)
    d = downhill * np.sign(w) * np.minimum(high * rate, room)
    if len(x) < 10:
        check(norm, x, w, b, d)
    return d


def check(norm, x, w, b, d):
    """Fails if a general solver finds a shorter displacement."""
    bounds = list(zip(-x, 1 - x))
    if norm == "Linf":
        # Minimize r with -r <= d_i <= r.
        eye, ones = np.eye(len(x)), np.ones((len(x), 1))
        found = linprog(
            [0] * len(x) + [1],
            A_ub=np.block([[eye, -ones], [-eye, -ones]]),
            b_ub=np.zeros(2 * len(x)),
            A_eq=[[*w, 0]],
            b_eq=[b - w @ x],
            bounds=[*bounds, (0, None)],
        )
        assert found.success and abs(found.fun - np.abs(d).max()) < 1e-7, (norm, found, d)
    else:
        scale = np.abs(w).max()
        constraint = {"type": "eq", "fun": lambda d: (w @ (x + d) - b) / scale}
        found = minimize(
            lambda d: d @ d / 2, d * 0, jac=lambda d: d, bounds=bounds, constraints=[constraint]
        )
        assert found.fun > d @ d / 2 - 1e-6, (norm, found, d)


def large():
    """Eight points of 3072 coordinates by the formula, half of them with faces, and constants."""
    x = formula("projections/point", (8, 3072)).float()
    x[4:] = (2 * x[4:] - 0.5).clamp(0, 1)
    w = formula("projections/weight", (8, 3072)).float()
    most = w.clamp(min=0).double().sum(1)
    now = (w.double() * x.double()).sum(1)
    part = torch.tensor([0.01, 0.1, 0.5, 0.95, 0.01, 0.3, 0.9, 1.1])
    return x, w, (now + part * (most - now)).float()


def projections(reference):
    """The file `projections`."""
    module = reference("fab_projections")
    ours = {"Linf": module.projection_linf, "L2": module.projection_l2}
    rng, values = np.random.default_rng(0), Values()
    sets = {}
    for dim, count in ((6, 120), (48, 72)):
        cases = [case(rng, KINDS[i % len(KINDS)], dim) for i in range(count)]
        sets[str(dim)] = [torch.from_numpy(np.stack(part)) for part in zip(*cases)]
    sets["3072"] = large()
    for name, (x, w, b) in sets.items():
        if name != "3072":
            values[f"{name}/point"], values[f"{name}/normal"] = x, w
        values[f"{name}/constant"] = b
        for norm in NORMS:
            exact = np.stack([brute_force(norm, *c) for c in zip(x.numpy(), w.numpy(), b.numpy())])
            values.add(f"{name}/{norm}/reference", ours[norm](x, w, b))
            values.add(f"{name}/{norm}/exact", torch.from_numpy(exact))
    return {"projections": values}
