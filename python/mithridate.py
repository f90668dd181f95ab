"""A store for PyTorch, with nothing but PyTorch: a SQLite file that `generator build` made comes in,
a Dataset whose epochs draw what `trainer train` would draw goes out; and the trained nets, as plain
PyTorch modules.

    train = Adversarial("adversarial.db", "train", seed=0, adv_ratio="0.25..0.75", bounds="fgsm=0.1..0.5")
    for epoch in range(2):
        train.set_epoch(epoch)
        for image, label, variant in torch.utils.data.DataLoader(train, batch_size=64, shuffle=True):
            ...
    net = load_resnet34("runs/joint/best.safetensors")

The draws are a function of (seed, epoch, image id), the same numbers as the trainer's: any order, any
number of workers, any batch size gives the same pictures. Nothing is augmented.
"""

import json
import math
import sqlite3
import struct
import zlib

import torch
from torch import nn
from torch.nn import functional as F

MASK = (1 << 64) - 1
GOLDEN = 0x9E37_79B9_7F4A_7C15
PIXELS = 3 * 32 * 32


# ---- Random numbers: shared/src/random.rs. ----


def _mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & MASK
    return z ^ (z >> 31)


class Stream:
    """The random numbers of (seed, purpose, indices)."""

    def __init__(self, seed, purpose, indices):
        state = _mix(seed)
        for word in [*purpose.encode(), 256, *indices]:
            state = _mix(((state + GOLDEN) & MASK) ^ _mix(word))
        self.state = state

    def uniform(self):
        """In [0, 1)."""
        self.state = (self.state + GOLDEN) & MASK
        return (_mix(self.state) >> 11) / (1 << 53)


# ---- The sampler: trainer/src/sampler. ----


def _share(text):
    low, _, high = str(text).partition("..")
    low = float(low)
    high = float(high) if high else low
    if not 0 <= low <= high <= 1:
        raise ValueError(f"adv_ratio {text}: not a number or a range within 0..1")
    return low, high


def _bounds(text, attacks):
    bounds = {name: (0.0, 1.0) for name in attacks}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, range_ = (part.strip() for part in item.partition("="))
        if name not in bounds:
            raise ValueError(f"bounds {item}: no attack '{name}' among {', '.join(attacks)}")
        bounds[name] = _share(range_)
    low, high = (list(side) for side in zip(*bounds.values()))
    if sum(low) > 1 + 1e-9 or sum(high) < 1 - 1e-9:
        raise ValueError(f"bounds {text}: no mixture sums to 1 within them")
    return low, high


def _project(weights, low, high):
    """The nearest point that sums to 1 within the bounds."""

    def at(t):
        return [min(max(y - t, lo), hi) for y, lo, hi in zip(weights, low, high)]

    def total(t):
        result = 0.0
        for p in at(t):
            result += p
        return result

    points = sorted([y - b for y, b in zip(weights, high)] + [y - b for y, b in zip(weights, low)])
    right = next((i for i, t in enumerate(points) if not total(t) > 1.0), len(points))
    if right == 0:
        t = points[0]
    elif right == len(points):
        t = points[-1]
    else:
        left, right = points[right - 1], points[right]
        above, below = total(left), total(right)
        t = left + (right - left) * ((above - 1.0) / (above - below))
    return at(t)


def _volume(total, caps):
    """Of {x : sum x = total, 0 <= x_i <= caps_i}, as seen along a coordinate; leaves caps as they were."""
    if total <= 0.0 or total >= _sum(caps):
        return 0.0
    if len(caps) == 2:
        a, b = caps
        return min(a, total) - max(total - b, 0.0)
    last, left, pyramids = len(caps) - 1, total, 0.0
    for i in range(len(caps)):
        caps[i], caps[last] = caps[last], caps[i]
        cap, others = caps[last], caps[:last]
        y = min(cap, left)
        left -= y
        if y > 0.0:
            pyramids += y * _volume(total, others)
        if y < cap:
            pyramids += (cap - y) * _volume(total - cap, others)
        caps[i], caps[last] = caps[last], caps[i]
    return pyramids / last


def _sum(values):
    # Python's own sum() compensates rounding since 3.12, which would give other bits.
    result = 0.0
    for value in values:
        result += value
    return result


def _coordinate(total, cap, rest, share):
    low = min(max(total - _sum(rest), 0.0), cap)
    high = min(cap, total)
    caps = [c for c in rest if c > 0.0] + [cap]
    if len(caps) == 1:
        return high
    wanted = share * _volume(total, caps)
    for _ in range(60):
        if low >= high:
            break
        caps[-1] = middle = 0.5 * (low + high)
        if _volume(total, caps) < wanted:
            low = middle
        else:
            high = middle
    return high


def _uniform(low, high, stream):
    """A mixture drawn uniformly from those within the bounds."""
    caps = [hi - lo for lo, hi in zip(low, high)]
    total, whole = 1.0 - _sum(low), _sum(caps)
    mirrored = total > 0.5 * whole
    left = max(whole - total if mirrored else total, 0.0)
    point = []
    for i, cap in enumerate(caps):
        x = _coordinate(left, cap, caps[i + 1 :], stream.uniform())
        left = max(left - x, 0.0)
        point.append(cap - x if mirrored else x)
    return _project([lo + x for lo, x in zip(low, point)], low, high)


class Sampler:
    """Which variant an epoch shows of an image: 0 is clean, 1 + i the i-th attack. The policies are
    `uniform` (anew every epoch, the paper's) and `fixed`; `adaptive` needs the net's errors and is the
    trainer's alone."""

    def __init__(self, attacks, seed=0, adv_ratio="0.5", policy="uniform", bounds=""):
        if policy not in ("uniform", "fixed"):
            raise ValueError(f"policy {policy}: one of uniform, fixed")
        self.attacks, self.seed, self.policy = list(attacks), seed, policy
        self.share = _share(adv_ratio)
        self.low, self.high = _bounds(bounds, self.attacks)

    def mixture(self, epoch):
        """The adversarial share and the attacks' probabilities of an epoch."""
        stream = Stream(self.seed, "mixture", [epoch])
        low, high = self.share
        share = min(max(low + (high - low) * stream.uniform(), low), high)
        if self.policy == "uniform":
            return share, _uniform(self.low, self.high, stream)
        count = len(self.attacks)
        return share, _project([1.0 / count] * count, self.low, self.high)

    def draw(self, mixture, epoch, image_id):
        """The variant of an image under an epoch's mixture."""
        share, probabilities = mixture
        stream = Stream(self.seed, "draw", [epoch, image_id])
        if not stream.uniform() < share:
            return 0
        place, total, variant = stream.uniform(), 0.0, 0
        for i, probability in enumerate(probabilities):
            total += probability
            if probability > 0.0:
                variant = i + 1
                if place < total:
                    break
        return variant


# ---- The store. ----


class Adversarial(torch.utils.data.Dataset):
    """A split of a store: of each image, in the order of ids, (`[3,32,32]` floats in [0,1], label, variant)
    as the epoch draws it. All of it is read into memory, 3 KB per picture and variant, and each picture's
    checksum is compared; `generator verify` compares the labels and all else."""

    def __init__(self, path, split="train", seed=0, adv_ratio="0.5", policy="uniform", bounds=""):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            db.execute("PRAGMA trusted_schema = OFF")
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ours = db.execute("PRAGMA application_id").fetchone()[0] == 0x4D697468
            if not (ours and tables >= {"meta", "attack", "image", "sample"}):
                raise ValueError(f"{path}: not an adversarial store")
            if db.execute("SELECT value FROM meta WHERE key = 'complete'").fetchone() != ("1",):
                raise ValueError(f"{path}: not complete; finish the build first")
            attacks = db.execute("SELECT id, name FROM attack ORDER BY id").fetchall()
            images = db.execute(
                "SELECT id, label, pixels, crc32 FROM image WHERE split = ? ORDER BY id", (split,)
            ).fetchall()
            samples = db.execute(
                "SELECT s.image_id, s.attack_id, s.pixels, s.crc32 FROM sample s JOIN image i ON i.id = s.image_id "
                "WHERE i.split = ? ORDER BY s.image_id, s.attack_id",
                (split,),
            ).fetchall()
        finally:
            db.close()
        if len(samples) != len(images) * len(attacks):
            raise ValueError(f"{path}: {len(samples)} samples for {len(images)} images and {len(attacks)} attacks")
        self.ids = [row[0] for row in images]
        self.labels = [row[1] for row in images]
        variants = 1 + len(attacks)
        pixels = bytearray(len(images) * variants * PIXELS)
        per_image = len(attacks)
        for row, image in enumerate(images):
            rows = [image] + [tuple(s) for s in samples[row * per_image : (row + 1) * per_image]]
            for variant, (image_id, second, blob, crc) in enumerate(rows):
                wrong = variant and (image_id, second) != (image[0], attacks[variant - 1][0])
                if wrong or len(blob) != PIXELS or zlib.crc32(blob) != crc:
                    raise ValueError(f"{path}: image {image[0]}, variant {variant} is damaged")
                start = (row * variants + variant) * PIXELS
                pixels[start : start + PIXELS] = blob
        shape = (len(images), variants, 3, 32, 32)
        self.pixels = torch.frombuffer(pixels, dtype=torch.uint8).reshape(shape) if images else torch.empty(shape)
        self.sampler = Sampler([name for _, name in attacks], seed, adv_ratio, policy, bounds)
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Draws anew, as the trainer's epoch of this number (from 0) does."""
        self.epoch, self.mixture = epoch, self.sampler.mixture(epoch)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, row):
        variant = self.sampler.draw(self.mixture, self.epoch, self.ids[row])
        return self.pixels[row, variant].float() / 255, self.labels[row], variant


# ---- The nets. ----


class BasicBlock(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet34(nn.Module):
    """`[B,3,32,32]` pixels in [0,1] to `[B,10]` logits; the stages have 1, 2, 4 and 8 times `width` channels."""

    def __init__(self, width=64, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        c_in = width
        for stage, blocks in enumerate((3, 4, 6, 3)):
            c_out = width << stage
            layer = []
            for block in range(blocks):
                layer.append(BasicBlock(c_in, c_out, 2 if stage and not block else 1))
                c_in = c_out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.linear = nn.Linear(c_in, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.linear(x.mean((2, 3)))


def read_safetensors(path):
    """The tensors of a safetensors file of floats, by name."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 8 or struct.unpack("<Q", data[:8])[0] > len(data) - 8:
        raise ValueError(f"{path}: not a safetensors file")
    start = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        count = math.prod(entry["shape"])
        if entry["dtype"] != "F32" or last - first != 4 * count or not 0 <= first <= last <= len(data) - start:
            raise ValueError(f"{path}: tensor {name} is not what its header says")
        blob = bytearray(data[start + first : start + last])
        flat = torch.frombuffer(blob, dtype=torch.float32) if count else torch.empty(0)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def load_resnet34(path):
    """A trained net in evaluation mode; its width is that of its stem."""
    tensors = read_safetensors(path)
    net = ResNet34(tensors["conv1.weight"].shape[0])
    missing, unknown = net.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unknown:
        raise ValueError(f"{path}: missing {missing}, unknown {unknown}")
    return net.eval()
