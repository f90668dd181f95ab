"""PyTorch Dataset and models for adversarial stores, with no dependency but PyTorch: a Dataset on the SQLite
file of `generator build`, whose epochs draw the same variants as `trainer train`, and trained weights as plain
PyTorch modules.

    train = Adversarial("adversarial.db", "train", seed=0, adv_ratio="0.25..0.75", bounds="fgsm=0.1..0.5")
    loader = torch.utils.data.DataLoader(train, batch_size=64, shuffle=True, num_workers=4, persistent_workers=True)
    for epoch in range(2):
        train.set_epoch(epoch)
        for image, label, variant in loader:
            ...
    model = load_resnet34("runs/joint/best.safetensors")
    surrogate = load_surrogate("adversarial.db")

The draws are a function of (seed, epoch, image id), as in the trainer: they do not depend on the order, the
number of workers or the batch size. Nothing is augmented.
"""

import contextlib
import hashlib
import json
import math
import operator
import os
import sqlite3
import stat
import struct
import urllib.parse
import warnings
import zlib

import torch
from torch import nn
from torch.nn import functional as F

MASK = (1 << 64) - 1
GOLDEN = 0x9E37_79B9_7F4A_7C15
PIXELS = 3 * 32 * 32
SPLITS = ("train", "val", "test")

APPLICATION_ID = 0x4D697468
SCHEMA_VERSION = 2


# ---- Random numbers: shared/kernels/src/random.rs. ----


def _mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & MASK
    return z ^ (z >> 31)


class Stream:
    """SplitMix64 random numbers, keyed by (seed, purpose, indices)."""

    def __init__(self, seed, purpose, indices):
        state = _mix(seed)
        for word in [*purpose.encode(), 256, *indices]:
            state = _mix(((state + GOLDEN) & MASK) ^ _mix(word))
        self.state = state

    def uniform(self):
        """A number in [0, 1)."""
        self.state = (self.state + GOLDEN) & MASK
        return (_mix(self.state) >> 11) / (1 << 53)


# ---- The sampler: trainer/src/sampler. ----


def _share(text):
    low, is_range, high = str(text).partition("..")
    try:
        low = float(low)
        high = float(high) if is_range else low
        if 0 <= low <= high <= 1:
            return low, high
    except ValueError:
        pass
    raise ValueError(f"{text}: expected a number or a range within 0..1")


def _bounds(text, attacks):
    bounds, given = {name: (0.0, 1.0) for name in attacks}, set()
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, range_ = (part.strip() for part in item.partition("="))
        if name in given:
            raise ValueError(f"bounds {text}: '{name}' twice")
        given.add(name)
        if name not in bounds:
            raise ValueError(f"bounds {item}: no attack '{name}' among {', '.join(attacks)}")
        bounds[name] = _share(range_)
    low, high = (list(side) for side in zip(*bounds.values()))
    if sum(low) > 1 + 1e-9 or sum(high) < 1 - 1e-9:
        raise ValueError(f"bounds {text}: no mixture sums to 1 within them")
    return low, high


def _project(weights, low, high):
    """Euclidean projection onto the points within the bounds that sum to 1."""

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
    """Volume of {x : sum x = total, 0 <= x_i <= caps_i}, projected along a coordinate; `caps` is restored."""
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
    # Since 3.12 Python's sum() compensates for rounding, which would give other bits than the trainer's.
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
    """A uniform random mixture within the bounds."""
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
    """Sampler of variants: 0 is the clean image, 1 + i the sample of the i-th attack. The policies are `uniform`
    (a new random mixture every epoch, as in the paper) and `fixed`; `adaptive` depends on the model's errors and
    exists only in the trainer."""

    def __init__(self, attacks, seed=0, adv_ratio="0.5", policy="uniform", bounds=""):
        if policy not in ("uniform", "fixed"):
            raise ValueError(f"policy {policy}: one of uniform, fixed")
        self.attacks, self.seed, self.policy = list(attacks), operator.index(seed), policy
        if not 0 <= self.seed <= MASK:
            raise ValueError(f"seed {seed}: expected 0 to 2^64 - 1")
        self.share = _share(adv_ratio)
        self.low, self.high = _bounds(bounds, self.attacks)

    def mixture(self, epoch):
        """The mixture of an epoch: the adversarial share and the probabilities of the attacks."""
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


def _check_header(path, name):
    """Checks a file's header, before SQLite opens it: refuses all but stores of this schema version."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"{name}: {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}, not an adversarial store")
    with open(path, "rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise ValueError(f"{name}: not an adversarial store: no SQLite file")
    # Offsets: https://www.sqlite.org/fileformat.html, section 1.3.
    version, application = struct.unpack(">I4xI", header[60:72])
    if application != APPLICATION_ID:
        raise ValueError(f"{name}: not an adversarial store: another program's database")
    if version != SCHEMA_VERSION:
        advice = "build the store again" if version < SCHEMA_VERSION else "use a newer mithridate.py"
        raise ValueError(f"{name}: schema version {version}, expected {SCHEMA_VERSION}: {advice}")
    if header[18:20] != b"\1\1":
        # Even a reader makes files beside a database with a write-ahead log.
        raise ValueError(f"{name}: a store with a write-ahead log; `PRAGMA journal_mode = DELETE` switches it back")


@contextlib.contextmanager
def _open(path):
    """The name of a store for messages, and a read-only connection to it."""
    name = os.fsdecode(path)
    _check_header(path, name)
    # Quoted, and absolute after an empty authority: '?', '#', '%' and '//' have a meaning in a URI. Not
    # normalized: 'link/../store.db' is where the link leads.
    absolute = os.fsencode(path)
    if not os.path.isabs(absolute):
        absolute = os.path.join(os.getcwdb(), absolute)
    try:
        uri = "file:///" + urllib.parse.quote(absolute) + "?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            # One transaction, so that all reads are of the same snapshot.
            db.execute("BEGIN")
            tables = {table for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables >= {"meta", "model", "attack", "image", "sample"}:
                raise ValueError(f"{name}: not an adversarial store: tables are missing")
            yield name, db
    except sqlite3.Error as error:
        hint = ""
        if os.path.exists(absolute + b"-journal"):
            hint = " (a build was stopped while it wrote; `generator info` restores the store)"
        raise ValueError(f"{name}: SQLite cannot read the store: {error}{hint}") from error


def _meta(db, name):
    """The table `meta`, as a function from a key to its value."""
    rows = dict(db.execute("SELECT key, value FROM meta"))

    def value(key):
        if not isinstance(rows.get(key), str):
            raise ValueError(f"{name}: no '{key}' in meta")
        return rows[key]

    return value


def _texts(name, key, text):
    with contextlib.suppress(ValueError, RecursionError):
        texts = json.loads(text)
        if isinstance(texts, list) and all(isinstance(item, str) for item in texts):
            return texts
    raise ValueError(f"{name}: '{key}' in meta is not a JSON list of strings")


class Adversarial(torch.utils.data.Dataset):
    """Dataset of a store's split: for each image, in the order of ids, the variant drawn in the epoch, as
    (`[3,32,32]` floats in [0,1], label, variant).

    The split (train, val or test) is read into memory: 3 KB per image and variant, clean ones included, and
    not more than 1.2 times that (or a few MB) while it is read. DataLoader workers that are forked share it; for those
    started by spawn or forkserver PyTorch moves it to shared memory (/dev/shm) once. Each image's checksum is
    compared; `generator verify` compares the labels and all else.

    Attributes, where N is the number of images and V that of variants (0 is clean, then the attacks):
        ids, labels    N numbers each
        classes        the names of the labels 0, 1, ...
        warnings       the warnings of the programs that built the store
        pixels         `[N,V,3,32,32]` bytes
        changed        `[N,V]` booleans: whether the variant's bytes differ from the clean image; False for
                       variant 0. For a detector a sample that equals its clean image is clean, so its target
                       is `changed[row, variant]`, not `variant > 0`; a subclass can return it:

                           def __getitem__(self, row):
                               image, label, variant = super().__getitem__(row)
                               return image, label, self.changed[row, variant]
        epoch, mixture the epoch, and its adversarial share and attack probabilities
    """

    def __init__(self, path, split="train", seed=0, adv_ratio="0.5", policy="uniform", bounds=""):
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: one of {', '.join(SPLITS)}")
        with _open(path) as (name, db):
            meta = _meta(db, name)
            if meta("complete") != "1":
                raise ValueError(f"{name}: not complete; finish the build first")
            if meta("shard") != "1/1":
                warnings.warn(
                    f"{name}: only shard {meta('shard')} of a store; `generator merge` makes the whole of all shards",
                    stacklevel=2,
                )
            self.classes = _texts(name, "classes", meta("classes"))
            self.warnings = _texts(name, "warnings", meta("warnings"))
            attacks = db.execute("SELECT id, name FROM attack ORDER BY id").fetchall()
            self.sampler = Sampler([attack for _, attack in attacks], seed, adv_ratio, policy, bounds)
            expected = meta(f"images_{split}")
            self._read(db, name, split, expected, [attack_id for attack_id, _ in attacks])
        # In shared memory, since persistent workers keep the copy of the Dataset with which they started.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._mixture = (None, None)

    def _read(self, db, name, split, expected, attack_ids):
        """Reads the rows one by one into a buffer; lists of all rows would double the memory."""
        count = db.execute("SELECT count(*) FROM image WHERE split = ?", (split,)).fetchone()[0]
        if str(count) != expected:
            raise ValueError(f"{name}: {count} images in {split}, expected {expected}")
        variants = 1 + len(attack_ids)
        pixels, changed = bytearray(count * variants * PIXELS), bytearray(count * variants)
        self.ids, self.labels, place = [], [], 0
        images = "SELECT id, label, pixels, crc32 FROM image WHERE split = ? ORDER BY id"
        samples = "SELECT attack_id, pixels, crc32 FROM sample WHERE image_id = ? ORDER BY attack_id"
        for image_id, label, clean, crc in db.execute(images, (split,)):
            rows = [(0, clean, crc), *db.execute(samples, (image_id,))]
            found = [row[0] for row in rows[1:]]
            if found != attack_ids:
                raise ValueError(f"{name}: image {image_id} has samples of attacks {found}, expected {attack_ids}")
            for variant, (_, blob, crc) in enumerate(rows):
                if not isinstance(blob, bytes) or len(blob) != PIXELS or zlib.crc32(blob) != crc:
                    raise ValueError(f"{name}: image {image_id}, variant {variant} is damaged")
                pixels[place * PIXELS : (place + 1) * PIXELS] = blob
                changed[place] = blob != clean
                place += 1
            self.ids.append(image_id)
            self.labels.append(label)
        if len(self.ids) != count:
            raise ValueError(f"{name}: {len(self.ids)} images in {split}, expected {count}")

        def tensor(buffer, dtype, *shape):
            # `frombuffer` makes no copy, but refuses an empty buffer.
            return (torch.frombuffer(buffer, dtype=dtype) if buffer else torch.empty(0, dtype=dtype)).reshape(shape)

        self.pixels = tensor(pixels, torch.uint8, count, variants, 3, 32, 32)
        self.changed = tensor(changed, torch.bool, count, variants)

    def __setstate__(self, state):
        self.__dict__.update(state)
        # For a copy, which may have its own workers; in a worker the tensor is in shared memory already.
        self._epoch.share_memory_()

    @property
    def epoch(self):
        return self._epoch.item()

    @property
    def mixture(self):
        return self._mixture_of(self.epoch)

    def _mixture_of(self, epoch):
        cached = self._mixture
        if cached[0] != epoch:
            cached = self._mixture = epoch, self.sampler.mixture(epoch)
        return cached[1]

    def set_epoch(self, epoch):
        """Sets the epoch, counted from 0, whose variants are drawn; also in running workers."""
        epoch = operator.index(epoch)
        if epoch < 0:
            raise ValueError(f"epoch {epoch}: not a number from 0")
        self._epoch.fill_(epoch)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, row):
        epoch = self.epoch
        variant = self.sampler.draw(self._mixture_of(epoch), epoch, self.ids[row])
        return self.pixels[row, variant].float() / 255, self.labels[row], variant


# ---- The models. ----


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions."""

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


def _channels(what, values):
    """Three float32 numbers for R, G and B, from a sequence or a string "r,g,b"."""
    text = values
    with contextlib.suppress(ValueError, TypeError, RuntimeError):
        if isinstance(values, str):
            values = values.split(",")
        channels = torch.tensor([float(value) for value in values], dtype=torch.float32)
        if channels.shape == (3,) and channels.isfinite().all():
            return channels
    raise ValueError(f"{what} {text!r}: not three numbers for R, G and B, such as 0.4914,0.4822,0.4465")


def _normalization(what, mean, std):
    """Mean and standard deviation as tensors; None where there is no normalization."""
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise ValueError(f"{what}{'std without mean' if mean is None else 'mean without std'}: give both or none")
    mean, std = _channels(f"{what}mean", mean), _channels(f"{what}std", std)
    if not (std > 0).all():
        raise ValueError(f"{what}std {std.tolist()}: not above 0")
    return mean, std


class ResNet34(nn.Module):
    """ResNet-34 in its CIFAR form: logits `[B,classes]` of images `[B,3,32,32]` in [0,1]; the stages have 1, 2, 4
    and 8 times `width` channels.

    With `mean` and `std`, three numbers each (or a string "r,g,b"), the first layer is `(x - mean) / std`. They are
    not in the `state_dict`; in a safetensors file they are in the metadata:

        safetensors.torch.save_file(model.state_dict(), "model.safetensors",
            metadata={"mean": "0.4914,0.4822,0.4465", "std": "0.2023,0.1994,0.2010"})
    """

    def __init__(self, width=64, classes=10, mean=None, std=None):
        super().__init__()
        normalization = _normalization("", mean, std)
        for name, values in zip(("mean", "std"), normalization or (None, None)):
            buffer = None if values is None else values.reshape(3, 1, 1)
            self.register_buffer(name, buffer, persistent=False)
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
        if self.mean is not None:
            # Before the zero padding of the first convolution, as in training: padded pixels are equal to the mean.
            x = (x - self.mean) / self.std
        x = F.relu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.linear(x.mean((2, 3)))


# The types of safetensors, as far as this version of PyTorch has them.
DTYPES = {
    name: getattr(torch, dtype)
    for name, dtype in {
        "F64": "float64",
        "F32": "float32",
        "F16": "float16",
        "BF16": "bfloat16",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
        "I64": "int64",
        "I32": "int32",
        "I16": "int16",
        "I8": "int8",
        "U64": "uint64",
        "U32": "uint32",
        "U16": "uint16",
        "U8": "uint8",
        "BOOL": "bool",
    }.items()
    if hasattr(torch, dtype)
}


def _foreign(data):
    """A description of the bytes if they are another tool's weights file."""
    if data.startswith(b"PK"):
        return "a zip archive, as torch.save writes (.pt, .pth)"
    # The first eight bytes of a safetensors file are a length, whose upper bytes are 0.
    if data[:1] == b"\x80" and data[1:2] in (b"\2", b"\3", b"\4", b"\5") and any(data[2:8]):
        return "a Python pickle, as old versions of torch.save write (.pt, .pth)"
    return None


def _parse_safetensors(name, data):
    """The tensors and the metadata of a safetensors file; `name` names it in messages."""

    def malformed(reason):
        kind = _foreign(data)
        if kind:
            return ValueError(
                f"{name}: {kind}, not a safetensors file; to convert a state_dict: "
                "safetensors.torch.save_file(torch.load('model.pth', weights_only=True), 'model.safetensors')"
            )
        return ValueError(f"{name}: not a safetensors file, or a damaged one: {reason}")

    def is_sizes(values):
        return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)

    if len(data) < 8:
        raise malformed(f"only {len(data)} bytes")
    start = 8 + struct.unpack("<Q", data[:8])[0]
    if start > len(data):
        raise malformed(f"a header of {start - 8} bytes in a file of {len(data)}")
    try:
        header = json.loads(data[8:start].decode())
    except (ValueError, RecursionError):
        raise malformed("its header is no JSON") from None
    if not isinstance(header, dict):
        raise malformed("its header is no JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise malformed("its metadata are not all text")
    places, tensors = [], {}
    for key, entry in header.items():
        entry = entry if isinstance(entry, dict) else {}
        shape, offsets, kind = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
        if not is_sizes(shape) or not is_sizes(offsets) or len(offsets) != 2 or not isinstance(kind, str):
            raise malformed(f"no dtype, shape and data_offsets of tensor {key}")
        if kind not in DTYPES:
            raise ValueError(f"{name}: tensor {key}: type {kind}, expected one of {', '.join(DTYPES)}")
        first, last = offsets
        count, dtype = math.prod(shape), DTYPES[kind]
        if last - first != dtype.itemsize * count or start + last > len(data):
            raise malformed(f"tensor {key}: bytes {first}..{last} of {len(data) - start} for {kind} {shape}")
        places.append((first, last))
        # Each has its own memory, so that none keeps the whole file's. Booleans are read as bytes first: a bool
        # tensor of other bytes than 0 and 1 is undefined.
        blob = bytearray(data[start + first : start + last])
        flat = torch.frombuffer(blob, dtype=torch.uint8 if kind == "BOOL" else dtype) if count else torch.empty(0)
        tensors[key] = flat.to(dtype).reshape(shape)
    # The format requires that there is nothing between the tensors or after them.
    ends = [0, *(last for _, last in sorted(places))]
    if [first for first, _ in sorted(places)] != ends[:-1] or start + ends[-1] != len(data):
        raise malformed("the tensors overlap, or do not fill the file")
    return tensors, metadata


def read_safetensors(path):
    """The tensors of a safetensors file by name, with the types that they have in the file."""
    with open(path, "rb") as file:
        return _parse_safetensors(os.fsdecode(path), file.read())[0]


def _check_names(name, tensors):
    """Refuses names with a wrapper's prefix and torchvision's names, with hints how to rename them."""
    stem = "conv1.weight"
    if stem not in tensors:
        prefixes = [key.removesuffix(stem) for key in tensors if key.endswith(stem)]
        for prefix in [*prefixes, "module.", "_orig_mod.", "model."]:
            if tensors and all(key.startswith(prefix) for key in tensors):
                raise ValueError(
                    f"{name}: all names begin with '{prefix}', expected names without it, such as {stem}; to strip "
                    f"it: state = {{key.removeprefix({prefix!r}): value for key, value in state.items()}}"
                )
    if "fc.weight" in tensors or any(".downsample." in key for key in tensors):
        raise ValueError(
            f"{name}: torchvision's names (fc, downsample), expected linear for fc and shortcut for downsample, "
            "and the CIFAR form: conv1 3x3 with stride 1, no pooling after it"
        )


def _weights(name, tensors):
    """The tensors as a `state_dict` of a ResNet34, its width and its number of classes."""
    _check_names(name, tensors)
    stem = tensors.get("conv1.weight")
    if stem is None:
        raise ValueError(f"{name}: no tensor conv1.weight, which a ResNet34 has")
    if stem.shape[1:] != (3, 3, 3) or not len(stem):
        raise ValueError(f"{name}: tensor conv1.weight: shape {list(stem.shape)}, expected [width, 3, 3, 3]")
    width, linear = len(stem), tensors.get("linear.weight")
    classes = len(linear) if linear is not None and linear.dim() == 2 else 10
    with torch.device("meta"):
        expected = ResNet34(width, classes).state_dict()
    state = {}
    for key, wanted in expected.items():
        counter = key.endswith("num_batches_tracked")
        shape = list(wanted.shape)
        if key not in tensors:
            if not counter:
                raise ValueError(f"{name}: no tensor {key}, expected one of shape {shape}")
            state[key] = torch.zeros((), dtype=torch.int64)
            continue
        found = tensors[key]
        if list(found.shape) != shape:
            raise ValueError(f"{name}: tensor {key}: shape {list(found.shape)}, expected {shape} at width {width}")
        if not counter and not found.is_floating_point():
            raise ValueError(f"{name}: tensor {key}: type {found.dtype}, expected floating point")
        state[key] = found.to(wanted.dtype)
        if not counter and not state[key].isfinite().all():
            raise ValueError(f"{name}: tensor {key}: infinite or NaN, expected finite float32 numbers")
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise ValueError(f"{name}: tensor {unknown[0]}{more}: a ResNet34 has none of that name")
    return state, width, classes


def _resnet34(name, data, config, mean, std):
    """The model of a safetensors file's bytes; `config` takes precedence over its metadata, and `mean` and `std`
    must agree with both."""
    tensors, metadata = _parse_safetensors(name, data)
    metadata = metadata | config
    given = _normalization(f"{name}: argument ", mean, std)
    kept = _normalization(f"{name}: metadata ", metadata.get("mean"), metadata.get("std"))
    if given and kept and not all(map(torch.equal, given, kept)):
        raise ValueError(
            f"{name}: mean {mean} and std {std} contradict the file's metadata, "
            f"mean {metadata['mean']} and std {metadata['std']}"
        )
    architecture = metadata.get("architecture", "resnet34")
    if architecture != "resnet34":
        raise ValueError(f"{name}: architecture {architecture}, expected resnet34, the only one that is read here")
    state, width, classes = _weights(name, tensors)
    mean, std = given or kept or (None, None)
    model = ResNet34(width, classes, mean, std)
    model.load_state_dict(state)
    return model.eval()


def load_resnet34(path, mean=None, std=None):
    """A trained model in evaluation mode, in float32; its width and number of classes are those of the weights. It
    normalizes its input with `mean` and `std` of the file's metadata, if it has them, or with those given here,
    which must not contradict the file's."""
    with open(path, "rb") as file:
        return _resnet34(os.fsdecode(path), file.read(), {}, mean, std)


def load_surrogate(db_path):
    """The surrogate of a store, which is the attacked model, in evaluation mode. Its input is images in [0,1]; it
    normalizes them with the store's `mean` and `std`."""
    with _open(db_path) as (name, db):
        query = "SELECT config, weights, sha256 FROM model WHERE id IN (SELECT model_id FROM attack)"
        rows = db.execute(query).fetchall()
    if len(rows) != 1:
        raise ValueError(f"{name}: {len(rows)} attacked models, expected one")
    config, weights, sha256 = rows[0]
    name = f"{name}: surrogate"
    if not isinstance(weights, bytes) or hashlib.sha256(weights).hexdigest() != sha256:
        raise ValueError(f"{name}: its weights are damaged")
    try:
        config = json.loads(config)
    except (ValueError, TypeError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{name}: its config is no JSON object")
    return _resnet34(name, weights, {key: config[key] for key in ("mean", "std") if key in config}, None, None)
