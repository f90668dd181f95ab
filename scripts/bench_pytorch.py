#!/usr/bin/env python3
"""What `trainer bench` measures, in PyTorch: the file that `trainer bench --write-inputs FILE` wrote
comes in, JSON of the same form goes out. `make bench` runs both and compares them.

    python3 -m venv VENV
    VENV/bin/pip install torch==2.11.0 safetensors==0.8.0 scipy tqdm
    VENV/bin/pip install --no-deps torchattacks==3.5.1
    VENV/bin/python scripts/bench_pytorch.py --inputs FILE

PyTorch is given its best: every measurement is made in both memory layouts (channels last and
contiguous), with and without inference mode, on CUDA with and without torch.compile, turn by turn,
and the fastest counts. On CUDA cuDNN tries its algorithms, and bf16 is autocast. Nets that do not
learn are frozen, so that their weights get no gradients. The detector's attention is PyTorch's own,
which is faster than the authors' products and softmax. Attacks are torchattacks', with the
parameters of the preset `standard`, on a net in evaluation mode as it is loaded, or on a frozen one;
torchattacks has no counterpart of Gaussian noise and style transfer as they are done here.
"""

import argparse
import copy
import functools
import json
import statistics
import sys
import time

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from reference.detector import Attention, Detector
from reference.resnet import ResNet34

LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
CLEARLY_SLOWER = 1.2
LONG = 10.0  # seconds, against which what is done but once does not count


class Inputs:
    """The net, the first `count` pictures and their labels, in one memory layout on one device."""

    def __init__(self, tensors, layout, count, device, precision):
        self.layout = LAYOUTS[layout]
        self.device = device
        self.autocast = functools.partial(
            torch.autocast, device, dtype=torch.bfloat16, enabled=precision == "bf16"
        )
        state = {name[4:]: t for name, t in tensors.items() if name.startswith("net.")}
        self.width = state["conv1.weight"].shape[0]
        net = ResNet34(self.width)
        missing, unknown = net.load_state_dict(state, strict=False)
        assert not unknown and all(name.endswith("num_batches_tracked") for name in missing)
        self.net = net.requires_grad_(False).eval().to(device, memory_format=self.layout)
        self.images = tensors["images"][:count].to(device).contiguous(memory_format=self.layout)
        self.labels = tensors["labels"][:count].long().to(device)

    def learner(self):
        """A copy of the net that learns, and its optimizer."""
        net = copy.deepcopy(self.net).requires_grad_(True).train()
        return net, sgd(net)


def sgd(net):
    return torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)


def descend(optimizer, loss):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


class FusedAttention(Attention):
    """The same by PyTorch's own attention, which does not keep the scores."""

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        return F.dropout(self.proj(out), self.dropout, self.training)


# Each of these takes inputs and returns what is to be timed.


def forward(inputs, guard, wrap=lambda net: net):
    net = wrap(inputs.net)

    def run():
        with guard(), inputs.autocast():
            net(inputs.images)

    return run


def input_gradient(inputs, wrap=lambda net: net):
    net = wrap(inputs.net)

    def run():
        images = inputs.images.clone().requires_grad_()
        with inputs.autocast():
            loss = F.cross_entropy(net(images), inputs.labels, reduction="sum")
        torch.autograd.grad(loss, images)

    return run


def train_step(inputs, wrap=lambda net: net):
    net, optimizer = inputs.learner()
    net = wrap(net)

    def run():
        with inputs.autocast():
            loss = F.cross_entropy(net(inputs.images), inputs.labels)
        descend(optimizer, loss)
        assert loss.isfinite()

    return run


def joint_step(inputs, wrap=lambda net: net):
    """As in `trainer/src/step/joint.rs`."""
    target, optimizer = inputs.learner()
    detector = Detector("full", inputs.width, layers=2, dropout=0.1)
    for layer in detector.layers:
        layer.att.__class__ = FusedAttention
    detector = detector.to(inputs.device, memory_format=inputs.layout).train()
    detector_optimizer = sgd(detector)
    known, learned, detect = wrap(inputs.net.features), wrap(target.features), wrap(detector)
    attacked = torch.arange(len(inputs.labels), device=inputs.device) % 2

    def run():
        with torch.no_grad(), inputs.autocast():
            maps, _ = known(inputs.images)
        detector.requires_grad_(True)
        with inputs.autocast():
            seen, logits = detect(maps)
            loss = F.cross_entropy(logits, attacked)
        descend(detector_optimizer, loss)

        detector.requires_grad_(False)
        with inputs.autocast():
            maps, logits = learned(inputs.images)
            shown, _ = detect(maps)
            distance = F.smooth_l1_loss(shown, seen.detach())
            loss = F.cross_entropy(logits, inputs.labels) + distance
        descend(optimizer, loss)
        assert loss.isfinite()

    return run


def attack(inputs, name):
    import torchattacks

    attack = {
        "fgsm": lambda net: torchattacks.FGSM(net, eps=8 / 255),
        "bim": lambda net: torchattacks.BIM(net, eps=8 / 255, alpha=2 / 255, steps=10),
        "deepfool": lambda net: torchattacks.DeepFool(net, steps=50, overshoot=0.02),
        "cw": lambda net: torchattacks.CW(net, c=1, kappa=0, steps=100, lr=0.01),
    }[name](inputs.net)
    return lambda: attack(inputs.images, inputs.labels)


# Of each name the ways to do it, and further ways on CUDA.
COMPILED = {
    "forward": {"compiled": functools.partial(forward, guard=torch.no_grad, wrap=torch.compile)},
    "input_gradient": {"compiled": functools.partial(input_gradient, wrap=torch.compile)},
    "train_step": {"compiled": functools.partial(train_step, wrap=torch.compile)},
    "joint_step": {"compiled": functools.partial(joint_step, wrap=torch.compile)},
}
MEASUREMENTS = {
    "forward": {
        "no_grad": functools.partial(forward, guard=torch.no_grad),
        "inference_mode": functools.partial(forward, guard=torch.inference_mode),
    },
    "input_gradient": {"": input_gradient},
    "train_step": {"": train_step},
    "joint_step": {"": joint_step},
}
for each in ("fgsm", "bim", "deepfool", "cw"):
    MEASUREMENTS["attack_" + each] = {"": functools.partial(attack, name=each)}


def timed(run):
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(variants, seconds, runs):
    """The fastest variant's name, and the seconds of its runs. All variants warm up, then they take
    turns; those leave early that are clearly slower."""

    def leave(last):
        limit = CLEARLY_SLOWER * min(last.values())
        for name in last:
            if last[name] > limit:
                del variants[name], times[name]

    times = {name: [] for name in variants}
    warm = {name: timed(run) for name, run in variants.items()}
    if min(warm.values()) > LONG:
        times = {name: [took] for name, took in warm.items()}
        runs -= 1
        leave(warm)
    turns, start = 0, time.perf_counter()
    while turns < runs or time.perf_counter() - start < seconds * len(times):
        last = {name: timed(run) for name, run in variants.items()}
        for name, took in last.items():
            times[name].append(took)
        turns += 1
        if turns == 1:
            leave(last)
    best = min(times, key=lambda name: statistics.median(times[name]))
    return best, times[best]


class Counter:
    """Counts how often pictures pass through a net, and how often it is counted."""

    def __init__(self, net):
        self.seen = self.runs = 0
        net.register_forward_pre_hook(self.count)

    def count(self, _, args):
        self.seen += len(args[0])

    def counted(self, run):
        def counted_run():
            self.runs += 1
            run()

        return counted_run


def result(name, tensors, args):
    variants, counters = {}, {}
    for layout in LAYOUTS:
        inputs = Inputs(tensors, layout, args.batch_size, args.device, args.precision)
        if name.startswith("attack_"):
            inputs.net.requires_grad_(not args.frozen)
        compiled = COMPILED.get(name, {}) if args.device == "cuda" else {}
        for way, prepare in (MEASUREMENTS[name] | compiled).items():
            variant = f"{layout} {way}".strip()
            variants[variant] = prepare(inputs)
            if name.startswith("attack_"):
                counters[variant] = Counter(inputs.net)
                variants[variant] = counters[variant].counted(variants[variant])
    if args.variant:
        variants = {args.variant: variants[args.variant]}
    best, times = measure(variants, args.seconds, args.runs)
    batch, median = len(inputs.labels), statistics.median(times)
    quartiles = statistics.quantiles(times, method="inclusive") if len(times) > 1 else [0, 0, 0]
    row = {
        "name": name,
        "width": inputs.width,
        "batch": batch,
        "device": args.device,
        "precision": args.precision,
        "images_per_s": batch / median,
        "spread": (quartiles[2] - quartiles[0]) / median,
        "runs": len(times),
        "variant": best,
    }
    if best in counters:
        # DeepFool's last pass only sees that it is done.
        passes = counters[best].seen / batch / counters[best].runs
        row["steps"] = passes - (name == "attack_deepfool")
    print(f"{name:<16}{batch / median:10.2f} images/s  {best}", file=sys.stderr, flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description="What `trainer bench` measures, in PyTorch.")
    add = parser.add_argument
    add("--inputs", required=True, metavar="FILE", help="what trainer bench --write-inputs wrote")
    add("--batch-size", type=int, metavar="N", help="only the first N pictures [all]")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--precision", choices=["f32", "tf32", "bf16"], default="f32", help="on CUDA")
    add("--threads", type=int, metavar="N", help="[all cores]")
    add("--only", type=lambda names: names.split(","), metavar="NAMES", help=", ".join(MEASUREMENTS))
    add("--frozen", action="store_true", help="attack a net whose weights want no gradients")
    add("--variant", metavar="WAY", help="only this way, as an earlier result named it")
    add("--seconds", type=float, default=5, help="for each, times the ways to do it [5]")
    add("--runs", type=int, default=3, help="at least, however long they take [3]")
    args = parser.parse_args()
    names = args.only or list(MEASUREMENTS)
    if unknown := set(names) - set(MEASUREMENTS):
        parser.error(f"--only: {', '.join(sorted(unknown))}")
    if args.device == "cpu" and args.precision != "f32":
        parser.error("--precision is for CUDA")
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.precision != "f32"
    tensors = load_file(args.inputs)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads", file=sys.stderr)
    results = [result(name, tensors, args) for name in names]
    print(json.dumps({"results": results}, indent=2))


if __name__ == "__main__":
    main()
