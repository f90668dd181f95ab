"""Iterates of FAB-T from the clean image towards the runner-up class."""

import torch

from ..values import Values
from .common import NORMS, attacked, few

ROWS, STEPS, STORED = list(range(6)), 25, (1, 2, 3, 5, 10, 25)


def fab(reference, golden):
    """The file `fab`."""
    model, x, y = attacked(golden, ROWS)
    values = Values()
    for norm in NORMS:
        attack = reference("fab_pt").FABAttack_PT(
            model, norm=norm, n_iter=STEPS, eps=1.0, targeted=True
        )
        iterates, differences = [], []
        label, gradient = attack._get_predicted_label, attack.get_diff_logits_grads_batch_targeted

        def recorded_label(x):
            iterates.append(x.clone())
            return label(x)

        def recorded_gradient(*inputs):
            found = gradient(*inputs)
            differences.append(found[0][:, 0].clone())
            return found

        attack._get_predicted_label = recorded_label
        attack.get_diff_logits_grads_batch_targeted = recorded_gradient
        attack.target_class = 2
        attack.attack_single_run(x, y, is_targeted=True)
        assert len(iterates) == STEPS + 1 and len(differences) == STEPS
        moved = torch.stack(iterates[1:])
        delta = (moved - x).flatten(2)
        adversarial = torch.stack([label(point) != y for point in moved])
        print(f"  fab {norm}: {adversarial.double().mean():.2f} of the iterates are adversarial")
        length = delta.abs().amax(2) if norm == "Linf" else delta.norm(dim=2)
        values[f"{norm}/difference"] = torch.stack(differences)
        values[f"{norm}/distance"] = length
        values[f"{norm}/misclassified"] = adversarial.to(torch.uint8)
        for step in STORED:
            values[f"{norm}/x{step}"] = few(moved[step - 1])
    return {"fab": values}
