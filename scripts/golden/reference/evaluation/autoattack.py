"""Which images stay robust against each attack of AutoAttack's standard set, run alone on the correctly classified
ones."""

import time

import torch

from ..values import Values
from .models import logits_of, read

IMAGES, QUERIES = 100, 1000
ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
# Model, norm, and the radius: Linf in 1/255.
CASES = (
    ("natural", "Linf", 1),
    ("natural", "L2", 0.2),
    ("robust", "Linf", 4),
    ("robust", "Linf", 8),
    ("robust", "L2", 0.5),
)


def autoattack(reference, golden, data, seed=0, cases=CASES, attacks=ATTACKS):
    """The file `autoattack`."""
    images, labels = (part[:IMAGES] for part in read(data, ["test_batch.bin"]))
    x = images.float() / 255
    places = torch.arange(1, 3073)
    values = Values(labels=labels, checksums=(images.flatten(1).long() * places).sum(1))
    for name, norm, radius in cases:
        eps = radius / 255 if norm == "Linf" else radius
        model = logits_of(golden(f"autoattack_{name}_weights"))
        correct = model(x).argmax(1) == labels
        values[f"{name}/clean"] = correct.to(torch.uint8)
        runner = reference("autoattack").AutoAttack(
            model, norm, eps, seed=seed, verbose=False, device="cpu"
        )
        runner.square.n_queries = QUERIES
        standard = correct.clone()
        for attack in attacks:
            started = time.time()
            runner.attacks_to_run = [attack]
            points = runner.run_standard_evaluation(x[correct], labels[correct], bs=IMAGES)
            robust = correct.clone()
            robust[correct] = model(points).argmax(1) == labels[correct]
            standard &= robust
            values[f"{name}/{norm}/{radius}/{attack}"] = robust.to(torch.uint8)
            print(
                f"  {name} {norm} {radius} {attack}: {robust.sum()} of {correct.sum()} stay robust, "
                f"{standard.sum()} so far, {time.time() - started:.0f} s",
                flush=True,
            )
    return {"autoattack": values}
