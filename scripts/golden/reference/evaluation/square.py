"""Searches of Square, one image at a time, with the uniform numbers that they drew."""

from unittest import mock

import torch

from ..values import Values
from .common import NORMS, attacked, few

ROWS, QUERIES = [0, 2, 5, 8], 200
EPS = {"Linf": 8 / 255, "L2": 0.5}


def search(attack, x, y):
    """Of one image: the best point, the best margin after each query (the start is the first), the numbers drawn."""
    drawn, margins = [], []
    rand, margin = torch.rand, attack.margin_and_loss

    def recorded_rand(*shape):
        numbers = rand(*shape)
        drawn.append(numbers.flatten())
        return numbers

    def recorded_margin(x, y):
        found = margin(x, y)
        margins.append(found[0].clone())
        return found

    attack.margin_and_loss = recorded_margin
    torch.manual_seed(0)
    with mock.patch.object(torch, "rand", recorded_rand):
        _, best = attack.attack_single_run(x, y)
    smallest = torch.cat(margins).cummin(0).values
    assert torch.equal(smallest[-1:], margin(best, y)[0])
    return best, smallest, torch.cat(drawn)


def square(reference, golden):
    """The file `square`."""
    model, x, y = attacked(golden, ROWS)
    values = Values(rows=torch.tensor(ROWS))
    for norm in NORMS:
        bests = []
        for i in range(len(x)):
            attack = reference("square").SquareAttack(
                model, norm=norm, n_queries=QUERIES, eps=EPS[norm], resc_schedule=False
            )
            attack.init_hyperparam(x)
            best, margins, drawn = search(attack, x[i : i + 1], y[i : i + 1])
            print(f"  square {norm} {i}: margin {margins[0]:.3f} to {margins[-1]:.3f}, {len(margins)} queries")
            values[f"{norm}/{i}/margins"], values[f"{norm}/{i}/drawn"] = margins, drawn
            bests.append(few(best))
        values[f"{norm}/best"] = torch.cat(bests)
    return {"square": values}
