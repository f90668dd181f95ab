"""Iterates, losses and step sizes of APGD from given start points."""

import sys

import torch

from ..values import Values, formula
from .common import NORMS, attacked, few

ROWS = [0, 3, 5, 8]
EPS = {"Linf": 2 / 255, "L2": 0.1}
# The steps whose iterates are stored, of runs of 25 and of 100 steps.
STORED = {25: (1, 2, 3, 5, 6, 12, 25), 100: (1, 2, 22, 23, 41, 42, 60)}
RECORDED = {25: 25, 100: 60}


class Recorder:
    """A model that records each pass of `attack_single_run`: pixels, logits and the step size at that time."""

    def __init__(self, model):
        self.model, self.passes = model, []

    def __call__(self, x):
        logits = self.model(x)
        caller = sys._getframe(1)
        if caller.f_code.co_name == "attack_single_run":
            step = caller.f_locals.get("step_size")
            step = None if step is None else step.flatten().clone()
            self.passes.append((x.detach().clone(), logits.detach().clone(), step))
        return logits


def start(x, norm):
    """Points of the ball by the formula: in L2 the noise has a length of about 32."""
    scale = EPS[norm] if norm == "Linf" else EPS[norm] / 40
    noise = (2 * formula("apgd/start", x.shape) - 1).float()
    return (x + torch.tensor(scale, dtype=torch.float32) * noise).clamp(0, 1)


def apgd(reference, golden):
    """The file `apgd`."""
    model, x, y = attacked(golden, ROWS)
    module = reference("autopgd_base")
    values = Values(rows=torch.tensor(ROWS))
    targets = model(x).sort(dim=1)[1][:, -3]
    values["targets"] = targets
    for norm in NORMS:
        for loss in ("ce", "dlr", "dlr-targeted"):
            for steps in STORED:
                recorder = Recorder(model)
                if loss == "dlr-targeted":
                    attack = module.APGDAttack_targeted(recorder, steps, norm, eps=EPS[norm])
                    attack.y_target = targets
                    criterion = attack.dlr_loss_targeted
                else:
                    attack = module.APGDAttack(recorder, steps, norm, eps=EPS[norm], loss=loss)
                    plain = torch.nn.CrossEntropyLoss(reduction="none")
                    criterion = plain if loss == "ce" else attack.dlr_loss
                attack.init_hyperparam(x)
                attack.attack_single_run(x, y, x_init=start(x, norm))
                assert len(recorder.passes) == steps + 1
                passes = recorder.passes[: RECORDED[steps] + 1]
                name = f"{norm}/{loss}/{steps}"
                values[f"{name}/losses"] = torch.stack([criterion(z, y) for _, z, _ in passes])
                values[f"{name}/step_sizes"] = torch.stack([step for *_, step in passes[1:]])
                wrong = torch.stack([z.argmax(1) != y for _, z, _ in passes])
                values[f"{name}/misclassified"] = wrong.to(torch.uint8)
                for step in STORED[steps]:
                    values[f"{name}/x{step}"] = few(passes[step][0])
                halved = (values[f"{name}/step_sizes"][-1] / values[f"{name}/step_sizes"][0]).log2()
                print(f"  apgd {name}: step sizes halved {(-halved).tolist()} times")
    return {"apgd": values}
