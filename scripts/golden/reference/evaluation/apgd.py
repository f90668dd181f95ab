"""Iterates, losses and step sizes of APGD from given start points."""

import sys

import torch

from ..values import Values, formula
from .common import NORMS, attacked, few

ROWS = [0, 3, 5, 8]
EPS = {"Linf": 2 / 255, "L2": 0.7}
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


def attack_of(module, model, norm, loss, steps, targets):
    """The reference's attack, and its loss as a function of logits and labels."""
    if loss == "dlr-targeted":
        attack = module.APGDAttack_targeted(model, steps, norm, eps=EPS[norm])
        attack.y_target = targets
        return attack, attack.dlr_loss_targeted
    attack = module.APGDAttack(model, steps, norm, eps=EPS[norm], loss=loss)
    return attack, torch.nn.CrossEntropyLoss(reduction="none") if loss == "ce" else attack.dlr_loss


def stable(trace, others):
    """For each image the last step up to which its losses and step sizes are those of runs that began a rounding error
    away: later, rounding decided something."""
    last = torch.full((trace[0].shape[1],), len(trace[0]) - 1)
    for losses, step_sizes in others:
        differ = (losses - trace[0]).abs() > 2e-5
        differ[1:] |= step_sizes != trace[1]
        for image in range(differ.shape[1]):
            wrong = differ[:, image].nonzero()
            if len(wrong):
                last[image] = min(last[image], int(wrong[0]) - 1)
    return last


def apgd(reference, golden):
    """The file `apgd`."""
    model, x, y = attacked(golden, ROWS)
    # The cross entropy's gradient in float32, 1 - p, loses most digits where p is almost 1.
    model.logits = torch.float64
    module = reference("autopgd_base")
    values = Values(rows=torch.tensor(ROWS))
    targets = model(x).sort(dim=1)[1][:, -3]
    values["targets"] = targets

    def run(norm, loss, steps, nudge):
        """The passes of one attack, and its losses and step sizes."""
        recorder = Recorder(model)
        attack, criterion = attack_of(module, recorder, norm, loss, steps, targets)
        attack.init_hyperparam(x)
        attack.attack_single_run(x, y, x_init=(start(x, norm) + nudge).clamp(0, 1))
        assert len(recorder.passes) == steps + 1
        passes = recorder.passes[: RECORDED[steps] + 1]
        losses = torch.stack([criterion(z, y) for _, z, _ in passes]).float()
        return passes, (losses, torch.stack([step for *_, step in passes[1:]]))

    noise = (2 * formula("apgd/start", x.shape) - 1).float()
    for norm in NORMS:
        for loss in ("ce", "dlr", "dlr-targeted"):
            for steps in STORED:
                name = f"{norm}/{loss}/{steps}"
                passes, trace = run(norm, loss, steps, 0)
                # The nearest floats to a start, in three ways.
                others = [run(norm, loss, steps, 6e-8 * noise.roll(k, 3).sign())[1] for k in range(3)]
                if loss != "ce":
                    # Where the label has rank 3 the DLR loss is constant, and its gradient rounding errors.
                    model.logits = torch.float32
                    others.append(run(norm, loss, steps, 0)[1])
                    model.logits = torch.float64
                values[f"{name}/losses"], values[f"{name}/step_sizes"] = trace
                values[f"{name}/stable"] = stable(trace, others)
                wrong = torch.stack([z.argmax(1) != y for _, z, _ in passes])
                values[f"{name}/misclassified"] = wrong.to(torch.uint8)
                for step in STORED[steps]:
                    values[f"{name}/x{step}"] = few(passes[step][0])
                halved = (trace[1][0] / trace[1][-1]).log2().int().tolist()
                until = values[f"{name}/stable"].tolist()
                print(f"  apgd {name}: step sizes halved {halved} times; stable until steps {until}")
    return {"apgd": values}
