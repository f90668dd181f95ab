"""Contents of the golden files, `{file: {name: tensor}}`: one function for each part."""

import copy

import torch
import torchattacks
from torch.nn import functional as F

from . import attacks
from .detector import Detector
from .gratings import CLASSES, gratings, model_of, to_float, train
from .resnet import PreActResNet18, ResNet18, ResNet34
from .values import Values, fill, formula


CLASSIFIERS = {
    "resnet": lambda: ResNet34(width=4),
    "resnet18": lambda: ResNet18(width=2),
    "preact_resnet18": lambda: PreActResNet18(width=2),
}


def classifier(name):
    """Weights, and logits, feature maps and gradients, of an architecture."""
    labels = torch.tensor([3, 0, 7])
    model = fill(CLASSIFIERS[name]()).eval()
    values = Values(images=formula("images", (3, 3, 32, 32)).float(), labels=labels)

    def run(mode, dtype):
        converted = copy.deepcopy(model).to(dtype).train(mode == "train")
        images = values["images"].to(dtype, copy=True).requires_grad_()
        maps, logits = converted.features(images)
        reduction = "mean" if mode == "train" else "sum"
        loss = F.cross_entropy(logits, labels, reduction=reduction)
        loss.backward()
        out = {"logits": logits, "loss": loss, "grad/images": images.grad}
        out |= {f"map.{k}": m for k, m in enumerate(maps)}
        if mode == "train":
            out |= {f"grad/{name}": p.grad for name, p in converted.named_parameters()}
            out |= {f"after/{n}": b for n, b in converted.named_buffers() if b.is_floating_point()}
        return out

    for mode in ("eval", "train"):
        values.add_both(lambda dtype: run(mode, dtype), mode + "/")
    return {f"{name}_weights": model.state_dict(), name: values}


def detector(inputs):
    """Outputs and gradients of the detector, and the smooth L1 loss."""
    width, labels = 8, torch.tensor([1, 0])
    model = fill(Detector(inputs, width, layers=1 if inputs == "full" else 2)).eval()
    sizes = [(width, 32), (width, 32), (2 * width, 16), (4 * width, 8), (8 * width, 4)]
    shapes = [(2, channels, side, side) for channels, side in sizes]
    values = Values(labels=labels)

    def run(dtype):
        converted = copy.deepcopy(model).to(dtype)
        maps = [formula(f"map.{k}", s).to(dtype).requires_grad_() for k, s in enumerate(shapes)]
        feature, logits = converted(maps)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        out = {"feature": feature, "logits": logits, "loss": loss}
        out |= {f"grad/{name}": p.grad for name, p in converted.named_parameters()}
        out |= {f"grad/map.{k}": m.grad for k, m in enumerate(maps) if m.grad is not None}
        return out

    def smooth_l1(dtype):
        target = values["smooth_l1/target"].to(dtype)
        feature = values["smooth_l1/feature"].to(dtype, copy=True).requires_grad_()
        loss = F.smooth_l1_loss(feature, target)
        loss.backward()
        return {"loss": loss, "grad/feature": feature.grad}

    values.add_both(run)
    if inputs == "low":
        for name in ("smooth_l1/target", "smooth_l1/feature"):
            values[name] = (3 * formula(name, (2, 16))).float()
        values.add_both(smooth_l1, "smooth_l1/")
        return {"detector_low_weights": model.state_dict(), "detector_low": values}
    return {"detector_full": values}


def trained_model():
    """The state dict of the attacked model: formula weights with default batch norms, trained on gratings."""
    model = fill(ResNet34(width=4))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_parameters()
    train(model)
    return model.state_dict()


def inputs_for(model):
    """The first correctly classified test image of each class and the first two misclassified ones. The
    style of each is the image before it, of the first one the last."""
    images, labels = gratings("test", 200)
    wrong = attacks.fooled(model, to_float(images), labels)
    chosen = [int((~wrong & (labels == k)).nonzero()[0]) for k in range(CLASSES)]
    chosen += wrong.nonzero().flatten()[:2].tolist()
    return images[chosen], images[chosen].roll(1, 0), labels[chosen]


def attacked(state):
    """Results of all attacks on the model with the weights `state`."""
    model, model64 = model_of(state), model_of(state).double()
    bytes_in, style_bytes, labels = inputs_for(model)
    x, styles = to_float(bytes_in), to_float(style_bytes)
    x64, styles64 = x.double(), styles.double()
    values = Values(images=bytes_in, styles=style_bytes, labels=labels)

    def final(name, result, image=True, **counts):
        with torch.no_grad():
            logits = model(result)
        true = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
        margin = true - logits.scatter(1, labels.unsqueeze(1), -torch.inf).amax(1)
        if image:
            values.add(f"{name}/final", result)
        values[f"{name}/l2"] = attacks.l2(result, x)
        values[f"{name}/margin"] = margin
        values[f"{name}/success"] = (margin < 0).to(torch.uint8)
        for key, count in counts.items():
            values[f"{name}/{key}"] = count

    def iterates(name, trace, trace64, steps=(1, 2, 3)):
        for k in steps:
            values.add(f"{name}/x{k}", trace[k - 1], trace64[k - 1])

    def torchattack(own, attack):
        """torchattacks' result, which must agree with the reference's own."""
        theirs = attack(x, labels)
        assert torch.allclose(own, theirs, rtol=0, atol=2e-6), attack
        return theirs

    values.add("logits", model64(x64), model(x))
    gradients = (attacks.loss_gradient(m, i, labels) for m, i in ((model64, x64), (model, x)))
    values.add("gradient", *gradients)

    own, _ = attacks.sign_steps(model, x, labels, [8 / 255])
    final("fgsm_standard", torchattack(own, torchattacks.FGSM(model, 8 / 255)))
    final("fgsm_paper", attacks.sign_steps(model, x, labels, [attacks.channel_steps(0.005, x)])[0])

    own, smallest = attacks.sign_steps(model, x, labels, [2 / 255] * 10, 8 / 255)
    final("bim_standard", torchattack(own, torchattacks.BIM(model, 8 / 255, 2 / 255, 10)))
    values.add("bim_standard/gradient", smallest)
    steps = [0.001] + [attacks.channel_steps(0.001, x)] * 5
    own, smallest = attacks.sign_steps(model, x, labels, steps)
    final("bim_paper", own)
    values.add("bim_paper/gradient", smallest)

    steps, eps = [2 / 255] * 20, 8 / 255
    own, _ = attacks.sign_steps(model, x, labels, steps, eps)
    torchattack(own, torchattacks.PGD(model, eps, 2 / 255, 20, random_start=False))
    start = attacks.random_start(x, eps, "pgd")
    own, smallest = attacks.sign_steps(model, x, labels, steps, eps, start)
    final("pgd_standard", own)
    values.add("pgd_standard/gradient", smallest)

    for name, steps, overshoot in (("standard", 50, 0.02), ("paper", 5, 0.0)):
        trace, taken = attacks.deepfool(model, x, labels, steps, overshoot)
        trace64, _ = attacks.deepfool(model64, x64, labels, steps, overshoot)
        for k in (1, 2, 3, steps):
            trace[k - 1] = torchattack(trace[k - 1], torchattacks.DeepFool(model, k, overshoot))
        iterates(f"deepfool_{name}", trace, trace64)
        final(f"deepfool_{name}", trace[-1], steps=taken)

    best, trace, taken, smallest = attacks.cw_standard(model, x, labels)
    _, trace64, _, _ = attacks.cw_standard(model64, x64, labels)
    final("cw_standard", best, steps=taken)
    iterates("cw_standard", trace, trace64)
    values.add("cw_standard/gradient", smallest)
    best, _, taken, _ = attacks.cw_standard(model, x, labels, kappa=3.0)
    final("cw_kappa", best, image=False, steps=taken)
    best, _, taken, _ = attacks.cw_standard(model, x, labels, steps=8)
    final("cw_short", best, steps=taken)
    final("cw_torchattacks", torchattacks.CW(model, 1, 0, 100, 0.01)(x, labels), image=False)

    best, trace, smallest = attacks.cw_paper(model, x, labels)
    _, trace64, _ = attacks.cw_paper(model64, x64, labels)
    final("cw_paper", best)
    iterates("cw_paper", trace, trace64)
    values.add("cw_paper/gradient", smallest)

    trace, losses = attacks.nst_paper(model, x, styles)
    trace64, losses64 = attacks.nst_paper(model64, x64, styles64)
    iterates("nst_paper", trace, trace64, (1, 2, 10))
    values.add("nst_paper/losses", losses, losses64)
    final("nst_paper", trace[-1].clamp(0, 1))
    return {"attacks_weights": state, "attacks": values}
