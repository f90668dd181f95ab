"""Joint training steps of a model and a detector (the paper's section 3), by one loss or in two stages, in float64."""

import copy

import torch
from torch.nn import functional as F

from .detector import Detector
from .methods import BATCH, BUFFERS, KEPT, cross_entropy
from .resnet import ResNet34
from .values import Values, fill

ALPHA, BETA, RATE, DETECTOR_RATE = 1.0, 2.0, 0.05, 0.02
# Which images of each step count as adversarial.
ATTACKED = torch.tensor([1, 0, 1, 0])
# Parameters of the detector whose change is kept.
DETECTOR_KEPT = ("emb_conv_list.0.weight", "cls_token", "layers.1.att.qkv.weight", "cls_fc.weight")


def changes(before, after, names, prefix):
    return {f"{prefix}/{name}": after[name].detach() - before[name] for name in names}


def steps(state, start, batches, two_stage):
    """Steps of the detector and of the model, one of each for a batch; the losses, and the changes of some tensors."""
    pretrained = ResNet34(width=4).double()
    pretrained.load_state_dict(state)
    model = copy.deepcopy(pretrained).train()
    pretrained.eval().requires_grad_(False)
    detector = copy.deepcopy(start)
    sgd = torch.optim.SGD(model.parameters(), RATE, 0.9, weight_decay=5e-4, nesterov=True)
    detector_sgd = torch.optim.SGD(detector.parameters(), DETECTOR_RATE, 0.9, weight_decay=5e-4)
    losses = []

    def update(optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for x, labels in batches:
        target, logits = detector(pretrained.features(x)[0])
        detector_loss = F.cross_entropy(logits, ATTACKED)
        update(detector_sgd, detector_loss)
        target = target.detach()

        def terms():
            maps, logits = model.features(x)
            return cross_entropy(logits, labels), F.smooth_l1_loss(detector(maps)[0], target)

        classification, distance = terms()
        if two_stage:
            update(sgd, ALPHA * classification)
            moved, distance = terms()
            # Every parameter has a gradient, if only of 0: momentum and decay move those that the distance ignores.
            update(sgd, 0 * moved + BETA * distance)
        else:
            update(sgd, ALPHA * classification + BETA * distance)
        losses.append(torch.stack([classification, distance, detector_loss]).detach())
    return (
        {"losses": torch.stack(losses)}
        | changes(state, model.state_dict(), (*KEPT, *BUFFERS), "change")
        | changes(start.state_dict(), detector.state_dict(), DETECTOR_KEPT, "detector_change")
    )


def joint(state, images, labels):
    """The file `joint`, from the model and the images of `attacks`."""
    x = (images.double() / 255).float().double()
    batches = [(x[i : i + BATCH], labels[i : i + BATCH]) for i in (0, BATCH)]
    detector = fill(Detector("low", width=4, layers=2, dropout=0)).double()
    values = Values()
    for name, tensor in detector.state_dict().items():
        values[f"detector/{name}"] = tensor.float()
    for case, two_stage in (("joint", False), ("two_stage", True)):
        for name, tensor in steps(state, detector, batches, two_stage).items():
            values[f"{case}/{name}"] = tensor.float()
    return {"joint": values}
