"""Tests of mithridate.py: draws equal to the trainer's (golden.json, which trainer/src/sampler/tests.rs compares
with the trainer), stores, DataLoader workers, weights files, and refusals.

    python3 python/test_mithridate.py            all tests
    python3 python/test_mithridate.py --write    write golden.json again
"""

import contextlib
import copy
import hashlib
import json
import os
import pathlib
import pickle
import random
import shutil
import sqlite3
import struct
import sys
import tempfile
import tracemalloc
import unittest
import warnings
import zlib

import torch
from torch.utils.data import DataLoader

import mithridate
from mithridate import PIXELS, Adversarial, ResNet34, load_resnet34, load_surrogate, read_safetensors

GOLDEN = pathlib.Path(__file__).with_name("golden.json")
SCHEMA = pathlib.Path(__file__).resolve().parent.parent / "schema.sql"
ATTACKS = ["gaussian", "fgsm", "bim", "deepfool", "cw", "nst"]
CASES = [
    {"seed": 0, "adv_ratio": "0.5", "policy": "uniform", "bounds": ""},
    {"seed": 7, "adv_ratio": "0.25..0.75", "policy": "uniform", "bounds": "fgsm=0.1..0.5,cw=0..0.1,nst=0.2"},
    {"seed": 2**63, "adv_ratio": "1", "policy": "fixed", "bounds": "bim=0.5..1"},
]
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
MEAN, STD = "0.4914,0.4822,0.4465", "0.2023,0.1994,0.2010"


def drawn(case):
    sampler = mithridate.Sampler(ATTACKS, **case)
    epochs = []
    for epoch in (0, 1, 40):
        share, probabilities = mixture = sampler.mixture(epoch)
        draws = [sampler.draw(mixture, epoch, image) for image in range(0, 60_000, 1_001)]
        epochs.append({"epoch": epoch, "share": share, "probabilities": probabilities, "draws": draws})
    return case | {"epochs": epochs}


def safetensors(tensors, metadata=None):
    """The bytes of a safetensors file."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        blob = bytes(tensor.detach().reshape(-1).view(torch.uint8).tolist())
        offsets = [len(data), len(data) + len(blob)]
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        data += blob
    header = json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def model(**arguments):
    """A small model whose running statistics are not the initial ones."""
    torch.manual_seed(0)
    made = ResNet34(2, **arguments)
    with torch.no_grad():
        made(torch.rand(8, 3, 32, 32))
    return made.eval()


def make_store(path, train=4, val=2, attacks=ATTACKS[:2], first_label=0, unchanged=(), meta=(), config=(), weights=b""):
    """A store whose images have the ids 10, 11, ...; `unchanged` has pairs (image id, attack id)."""
    values = {
        "complete": "1",
        "shard": "1/1",
        "images_train": str(train),
        "images_val": str(val),
        "images_test": "0",
        "classes": json.dumps([f"class {label}" for label in range(10)]),
        "warnings": "[]",
    } | dict(meta)
    bytes_ = random.Random(1).randbytes
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executescript(SCHEMA.read_text())
        db.execute("PRAGMA user_version = 2")
        db.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
        sha256 = hashlib.sha256(weights).hexdigest()
        db.execute("INSERT INTO model VALUES (1, 'm', ?, ?, ?)", (sha256, json.dumps(dict(config)), weights))
        for number, name in enumerate(attacks, 1):
            db.execute("INSERT INTO attack VALUES (?, ?, '{}', 1)", (number, name))
        for row in range(train + val):
            split, image = "train" if row < train else "val", 10 + row
            clean, label = bytes_(PIXELS), (first_label + row) % 10
            fields = (image, split, row, label, clean, zlib.crc32(clean), label)
            db.execute("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?)", fields)
            for number in range(1, 1 + len(attacks)):
                blob = clean if (image, number) in unchanged else bytes_(PIXELS)
                fields = (image, number, blob, zlib.crc32(blob), 0, 0, 0.0, 0.0, 0)
                db.execute("INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", fields)
    return path


def change(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def variants(loader):
    return [variant for _, _, batch in loader for variant in batch.tolist()]


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def at(self, name):
        return os.path.join(self.folder, name)

    def write(self, data, name="model.safetensors"):
        path = self.at(name)
        pathlib.Path(path).write_bytes(data)
        return path

    def refused(self, call, *parts, error=ValueError):
        """Asserts that the call fails with a message of one line that has these parts."""
        with self.assertRaises(error) as caught:
            call()
        message = str(caught.exception)
        for part in parts:
            self.assertIn(str(part), message)
        self.assertNotIn("\n", message)


class Draws(InFolder):
    def test_draws_are_the_trainers(self):
        self.assertEqual([drawn(case) for case in CASES], json.loads(GOLDEN.read_text()))

    def test_bounds_that_leave_no_mixture_are_refused(self):
        for bounds in ("fgsm=0.9..1,cw=0.2..1", "no-such-attack=0..1", "fgsm=1..0"):
            with self.assertRaises(ValueError):
                mithridate.Sampler(ATTACKS, bounds=bounds)

    def test_bounds_and_shares_without_an_end_or_twice_and_seeds_out_of_range_are_refused(self):
        bounds = ({"bounds": text} for text in ("fgsm=0.2..", "fgsm=0.1,fgsm=0.9", "fgsm="))
        for wrong in (*bounds, {"adv_ratio": "0.5.."}, {"seed": -1}, {"seed": 1 << 64}):
            with self.subTest(wrong):
                self.refused(lambda: mithridate.Sampler(ATTACKS, **wrong))
        same = mithridate.Sampler(ATTACKS, seed=torch.tensor(3)).mixture(1)
        self.assertEqual(same, mithridate.Sampler(ATTACKS, seed=3).mixture(1))

    def test_an_unknown_policy_is_refused(self):
        with self.assertRaisesRegex(ValueError, "uniform, fixed"):
            mithridate.Sampler(ATTACKS, policy="adaptive")


class Paths(InFolder):
    def test_a_path_with_special_characters_opens_exactly_that_file(self):
        names = [
            "a#b.db",
            "100%.db",
            "%41.db",
            "x?mode=rwc",
            "x.db?cache=shared#y",
            " two  words .db",
            "日本 ü.db",
            os.fsdecode(b"no utf-8 \xff\xfe.db"),
            "file:other.db",
            ":memory:",
            "back\\slash&'\";=+.db",
        ]
        for first_label, name in enumerate(names):
            make_store(self.at("made.db"), first_label=first_label)
            # Renamed, so that the names do not go through SQLite's URIs.
            os.rename(self.at("made.db"), self.at(name))
        # Files that these names would open if they were not quoted.
        for decoy in ("a", "A.db", "x", "x.db"):
            make_store(self.at(decoy), first_label=9, val=0)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        before = sorted(os.listdir(os.fsencode(self.folder)))
        for first_label, name in enumerate(names):
            path = self.at(name)
            doubled = ["/" + path, path.replace("/", "//")] if os.name == "posix" else []
            for form in [path, name, os.fsencode(path), pathlib.Path(path), *doubled]:
                with self.subTest(form=form):
                    self.assertEqual(Adversarial(form, "val").labels, [(first_label + row) % 10 for row in (4, 5)])
        self.assertEqual(sorted(os.listdir(os.fsencode(self.folder))), before)

    def test_a_path_through_a_symbolic_link_and_dots_leads_where_the_link_does(self):
        os.makedirs(self.at("a/b"))
        os.symlink(self.at("a/b"), self.at("link"))
        make_store(self.at("a/store.db"), first_label=3)
        make_store(self.at("store.db"), first_label=7)
        self.assertEqual(Adversarial(self.at("link/../store.db")).labels[0], 3)

    def test_a_missing_file_is_not_found_and_not_created(self):
        for name in ("missing.db", "missing#.db", "no folder/store.db"):
            path = self.at(name)
            for load in (Adversarial, load_surrogate):
                with self.assertRaises(FileNotFoundError) as caught:
                    load(path)
                self.assertIn(path, str(caught.exception))
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_folder_and_a_file_of_another_kind_are_refused(self):
        self.refused(lambda: Adversarial(self.folder), self.folder, "a folder")
        for data in (b"", b"text", b"SQLite format 3\0" + bytes(84), bytes(5000)):
            path = self.write(data, "other.db")
            self.refused(lambda: Adversarial(path), path, "not an adversarial store")

    def test_another_programs_database_and_views_for_tables_are_refused(self):
        path = self.at("other.db")
        change(path, "CREATE TABLE a (b)")
        self.refused(lambda: Adversarial(path), path, "not an adversarial store")
        views = [f"CREATE VIEW {name} AS SELECT b FROM a" for name in ("meta", "model", "attack", "image", "sample")]
        change(path, f"PRAGMA application_id = {0x4D697468}", "PRAGMA user_version = 2", *views)
        self.refused(lambda: Adversarial(path), path, "not an adversarial store")

    def test_a_store_is_opened_read_only(self):
        path = make_store(self.at("store.db"))
        before = pathlib.Path(path).read_bytes()

        def write():
            with mithridate._open(path) as (_, db):
                db.execute("DELETE FROM meta")

        self.refused(write, path, "readonly")
        self.assertEqual(pathlib.Path(path).read_bytes(), before)

    def test_a_store_with_a_write_ahead_log_is_refused_and_no_file_is_made_beside_it(self):
        path = make_store(self.at("store.db"))
        change(path, "PRAGMA journal_mode = WAL")
        self.refused(lambda: Adversarial(path), path, "write-ahead log")
        self.assertEqual(os.listdir(self.folder), ["store.db"])

    def test_a_store_with_the_journal_of_a_killed_build_is_refused_and_says_how_to_restore_it(self):
        path, killed = make_store(self.at("store.db"), train=100), self.at("killed.db")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA cache_size = 2")
            db.execute("BEGIN")
            db.execute("UPDATE image SET clean_pred = 1, pixels = zeroblob(3072)")
            for end in ("", "-journal"):
                shutil.copy(path + end, killed + end)
        self.refused(lambda: Adversarial(killed), killed, "generator info")

    def test_a_damaged_database_is_refused_by_name(self):
        path = make_store(self.at("store.db"))
        with open(path, "r+b") as file:
            file.seek(16384)
            file.write(b"\xff" * 3 * 16384)
        self.refused(lambda: Adversarial(path), path)


class Stores(InFolder):
    def test_schema_versions_other_than_2_are_refused_with_both_versions(self):
        path = make_store(self.at("store.db"))
        for version in (0, 1, 3):
            change(path, f"PRAGMA user_version = {version}")
            for load in (Adversarial, load_surrogate):
                self.refused(lambda: load(path), path, f"version {version}", "expected 2")

    def test_an_unknown_split_is_refused_with_the_names_of_the_three(self):
        path = make_store(self.at("store.db"))
        for split in ("Train", "", "validation", "training", None):
            self.refused(lambda: Adversarial(path, split), repr(split), "train, val, test")

    def test_a_split_without_images_is_allowed(self):
        data = Adversarial(make_store(self.at("store.db")), "test")
        self.assertEqual((len(data), data.labels), (0, []))
        self.assertEqual((data.pixels.shape, data.pixels.dtype), ((0, 3, 3, 32, 32), torch.uint8))
        self.assertEqual((data.changed.shape, data.changed.dtype), ((0, 3), torch.bool))

    def test_pixels_labels_and_variants_are_those_of_the_rows(self):
        path = make_store(self.at("store.db"), first_label=5)
        data = Adversarial(path, adv_ratio="1")
        with contextlib.closing(sqlite3.connect(path)) as db:
            for row, image in enumerate(data.ids):
                clean = db.execute("SELECT pixels FROM image WHERE id = ?", (image,))
                samples = db.execute("SELECT pixels FROM sample WHERE image_id = ? ORDER BY attack_id", (image,))
                expected = [list(pixels) for (pixels,) in [*clean, *samples]]
                self.assertEqual(data.pixels[row].flatten(1).tolist(), expected)
        self.assertEqual((data.ids, data.labels), ([10, 11, 12, 13], [5, 6, 7, 8]))
        for row in range(len(data)):
            image, label, variant = data[row]
            self.assertTrue(variant > 0 and torch.equal(image, data.pixels[row, variant] / 255))
            self.assertEqual(label, 5 + row)

    def test_class_names_and_warnings_are_those_of_meta(self):
        classes = [f"Klasse {i} é" for i in range(10)]
        meta = {"classes": json.dumps(classes), "warnings": '["one", "two"]'}
        data = Adversarial(make_store(self.at("store.db"), meta=meta))
        self.assertEqual((data.classes, data.warnings), (classes, ["one", "two"]))
        for key in ("classes", "warnings"):
            for value in ("", "{}", "[1]", "[" * 100_000):
                os.remove(self.at("store.db"))
                path = make_store(self.at("store.db"), meta={key: value})
                self.refused(lambda: Adversarial(path), path, key)

    def test_an_incomplete_or_damaged_store_is_refused(self):
        for statement, part in (
            ("UPDATE meta SET value = '0' WHERE key = 'complete'", "not complete"),
            ("DELETE FROM meta WHERE key = 'complete'", "complete"),
            ("UPDATE image SET crc32 = crc32 + 1 WHERE id = 11", "image 11, variant 0 is damaged"),
            ("UPDATE sample SET pixels = zeroblob(3072) WHERE image_id = 12 AND attack_id = 2", "image 12, variant 2"),
            ("DELETE FROM sample WHERE image_id = 12 AND attack_id = 1", "image 12 has samples of attacks [2]"),
            ("UPDATE sample SET attack_id = 3 WHERE image_id = 12 AND attack_id = 2", "[1, 3], expected [1, 2]"),
            ("DELETE FROM image WHERE id = 13", "3 images in train, expected 4"),
            ("UPDATE meta SET value = '5' WHERE key = 'images_train'", "4 images in train, expected 5"),
        ):
            with self.subTest(statement=statement):
                path = make_store(self.at("store.db"))
                change(path, statement)
                self.refused(lambda: Adversarial(path), path, part)
                os.remove(path)

    def test_a_shard_warns_once_which_part_of_a_store_it_is(self):
        path = make_store(self.at("store.db"), meta={"shard": "2/8"})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Adversarial(path)
        self.assertEqual(len(caught), 1)
        self.assertIn(f"{path}: only shard 2/8", str(caught[0].message))
        self.assertEqual(caught[0].filename, __file__)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Adversarial(make_store(self.at("whole.db")))

    def test_changed_says_which_samples_differ_from_their_clean_images(self):
        path = make_store(self.at("store.db"), unchanged={(10, 2), (13, 1), (13, 2)})
        changed = Adversarial(path).changed
        self.assertEqual(changed.dtype, torch.bool)
        expected = [[False, True, False], [False, True, True], [False, True, True], [False, False, False]]
        self.assertEqual(changed.tolist(), expected)

    def test_peak_memory_while_loading_is_within_1_2_times_the_pixels(self):
        path = make_store(self.at("store.db"), train=600)
        # Imports on the first use are no part of it.
        Adversarial(path, "val")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        data = Adversarial(path)
        peak = tracemalloc.get_traced_memory()[1]
        self.assertGreater(peak, data.pixels.numel(), "the pixels are in memory that Python does not trace")
        self.assertLess(peak, 1.2 * data.pixels.numel())


class Epochs(InFolder):
    def setUp(self):
        super().setUp()
        path = make_store(self.at("store.db"), train=64)
        self.data = Adversarial(path, adv_ratio="0.25..0.75", seed=3)

    def expected(self, epoch):
        sampler = self.data.sampler
        mixture = sampler.mixture(epoch)
        return [sampler.draw(mixture, epoch, image) for image in self.data.ids]

    def persistent_workers(self, method):
        loader = DataLoader(
            self.data, batch_size=8, num_workers=2, persistent_workers=True, multiprocessing_context=method
        )
        epochs = (0, 1, 2, 40, 1)
        expected = [self.expected(epoch) for epoch in epochs]
        self.assertEqual(len({tuple(draws) for draws in expected}), 4)
        for epoch, draws in zip(epochs, expected):
            self.data.set_epoch(epoch)
            self.assertEqual(variants(loader), draws, f"epoch {epoch}")

    def test_set_epoch_reaches_persistent_workers_under_fork(self):
        self.persistent_workers("fork")

    def test_set_epoch_reaches_persistent_workers_under_spawn(self):
        self.persistent_workers("spawn")

    def test_set_epoch_reaches_persistent_workers_under_forkserver(self):
        self.persistent_workers("forkserver")

    def test_set_epoch_reaches_the_persistent_workers_of_a_copy(self):
        for copied in (copy.deepcopy(self.data), pickle.loads(pickle.dumps(self.data))):
            loader = DataLoader(copied, num_workers=1, persistent_workers=True, multiprocessing_context="fork")
            for epoch in (0, 5):
                copied.set_epoch(epoch)
                self.assertEqual(variants(loader), self.expected(epoch))
            self.assertEqual(self.data.epoch, 0)

    def test_epoch_and_mixture_are_attributes_that_follow_set_epoch(self):
        for epoch in (0, 7, 3):
            self.data.set_epoch(epoch)
            self.assertEqual((self.data.epoch, self.data.mixture), (epoch, self.data.sampler.mixture(epoch)))
            self.assertEqual([self.data[row][2] for row in range(64)], self.expected(epoch))
        for epoch, error in ((-1, ValueError), (0.5, TypeError)):
            self.assertRaises(error, self.data.set_epoch, epoch)


class Safetensors(InFolder):
    def test_floats_and_integers_of_a_safetensors_file_are_read_as_what_they_are(self):
        tensors = {name: torch.tensor([[0, 1, 1], [2, 3, 100]]).to(dtype) for dtype, name in DTYPES.items()}
        tensors |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(2**40 + 1), "minus": torch.tensor([-1])}
        read = read_safetensors(self.write(safetensors(tensors, {"a": "b"})))
        self.assertEqual(list(read), list(tensors))
        for name, tensor in tensors.items():
            self.assertEqual((read[name].dtype, read[name].shape), (tensor.dtype, tensor.shape), name)
            self.assertTrue(torch.equal(read[name], tensor), name)

    def test_a_type_that_is_not_known_is_refused_by_name(self):
        data = safetensors({"a": torch.zeros(4)}).replace(b"F32", b"F4X")
        path = self.write(data)
        self.refused(lambda: read_safetensors(path), path, "tensor a", "F4X", "BF16")

    def test_a_truncated_safetensors_file_is_refused_at_every_length(self):
        data = safetensors({"a": torch.arange(3), "b": torch.rand(2)}, {"mean": MEAN})
        for length in range(len(data)):
            path = self.write(data[:length])
            self.refused(lambda: read_safetensors(path), path, "not a safetensors file")

    def test_a_malformed_header_of_a_safetensors_file_is_refused(self):
        entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
        for header in (
            "",
            "[]",
            "{",
            "\xff",
            "[" * 100_000,
            {"a": []},
            {"a": entry, "__metadata__": {"mean": 1}},
            {"a": entry, "__metadata__": "text"},
            {"a": entry | {"shape": [-1]}},
            {"a": entry | {"shape": [True]}},
            {"a": entry | {"shape": 1}},
            {"a": entry | {"shape": [2]}},
            {"a": entry | {"shape": [0, 2**63], "data_offsets": [0, 0]}, "b": entry},
            {"a": entry | {"dtype": None}},
            {"a": entry | {"data_offsets": [0]}},
            {"a": entry | {"data_offsets": [4, 8]}},
            {"a": entry | {"data_offsets": [0, 10**30]}},
            {"a": entry, "b": entry},
            {},
        ):
            with self.subTest(header=header):
                text = header if isinstance(header, str) else json.dumps(header)
                blob = text.encode("latin-1")
                path = self.write(struct.pack("<Q", len(blob)) + blob + bytes(4))
                self.refused(lambda: read_safetensors(path), path, "not a safetensors file")

    def test_a_torch_save_file_is_recognized_and_the_error_says_how_to_convert_it(self):
        path = self.at("model.pth")
        for zipped, kind in ((True, "zip"), (False, "pickle")):
            torch.save({"conv1.weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=zipped)
            for load in (read_safetensors, load_resnet34):
                self.refused(lambda: load(path), path, kind, "torch.save", "safetensors.torch.save_file(torch.load(")


class Weights(InFolder):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def same(self, found, expected, tolerance=1e-5):
        self.assertFalse(found.training)
        with torch.no_grad():
            torch.testing.assert_close(found(self.images), expected(self.images), rtol=tolerance, atol=tolerance)

    def test_a_whole_state_dict_with_int64_num_batches_tracked_is_loaded(self):
        state = model().state_dict()
        self.assertEqual(state["bn1.num_batches_tracked"].dtype, torch.int64)
        loaded = load_resnet34(pathlib.Path(self.write(safetensors(state))))
        self.same(loaded, model())
        self.assertEqual(loaded.bn1.num_batches_tracked.item(), 1)

    def test_weights_without_num_batches_tracked_are_loaded(self):
        state = {name: value for name, value in model().state_dict().items() if "num_batches" not in name}
        self.same(load_resnet34(self.write(safetensors(state))), model())

    def test_float64_float16_and_bfloat16_weights_become_float32(self):
        for dtype in (torch.float64, torch.float16, torch.bfloat16):
            expected = model().to(dtype)
            loaded = load_resnet34(self.write(safetensors(expected.state_dict())))
            self.assertEqual({value.dtype for value in loaded.parameters()}, {torch.float32})
            self.same(loaded, expected.float())

    def test_a_common_prefix_of_all_names_is_refused_and_the_error_says_how_to_strip_it(self):
        for prefix in ("module.", "_orig_mod.", "model.", "module._orig_mod.", "net.backbone."):
            state = {prefix + name: value for name, value in model().state_dict().items()}
            path = self.write(safetensors(state))
            strip = f"removeprefix('{prefix}')"
            self.refused(lambda: load_resnet34(path), path, f"begin with '{prefix}'", "conv1.weight", strip)
        path = self.write(safetensors({"module.features.0.weight": torch.zeros(1)}))
        self.refused(lambda: load_resnet34(path), path, "begin with 'module.'")

    def test_the_names_of_torchvision_are_recognized(self):
        def name(ours):
            return ours.replace("shortcut", "downsample").replace("linear.", "fc.")

        path = self.write(safetensors({name(key): value for key, value in model().state_dict().items()}))
        self.refused(lambda: load_resnet34(path), path, "torchvision", "fc", "downsample", "linear", "shortcut")

    def test_the_number_of_classes_is_that_of_the_weights(self):
        made = ResNet34(2, classes=100).eval()
        loaded = load_resnet34(self.write(safetensors(made.state_dict())))
        self.assertEqual(loaded.linear.out_features, 100)
        self.same(loaded, made)

    def test_missing_unknown_and_misshapen_tensors_are_refused_in_one_line(self):
        state = model().state_dict()
        for other, part in (
            ({"linear.bias": None}, "no tensor linear.bias, expected one of shape [10]"),
            ({"conv1.weight": None}, "no tensor conv1.weight"),
            ({"linear.bias": torch.zeros(7)}, "tensor linear.bias: shape [7], expected [10]"),
            ({"conv1.weight": torch.zeros(2, 3, 7, 7)}, "tensor conv1.weight: shape [2, 3, 7, 7]"),
            ({"conv1.weight": torch.tensor(1.0)}, "tensor conv1.weight: shape []"),
            ({"conv1.weight": torch.zeros(0, 3, 3, 3)}, "tensor conv1.weight: shape [0, 3, 3, 3]"),
            ({"conv1.weight": torch.zeros(4, 3, 3, 3)}, "tensor bn1.weight: shape [2], expected [4]"),
            ({"linear.bias": torch.zeros(10, dtype=torch.uint8)}, "tensor linear.bias: type torch.uint8"),
            ({"linear.bias": torch.full((10,), torch.nan)}, "tensor linear.bias: infinite or NaN"),
            ({"a": torch.zeros(1), "b": torch.zeros(1)}, "tensor a and 1 more"),
        ):
            with self.subTest(part=part):
                changed = {name: value for name, value in (state | other).items() if value is not None}
                path = self.write(safetensors(changed))
                self.refused(lambda: load_resnet34(path), path, part)
        path = self.write(safetensors({}))
        self.refused(lambda: load_resnet34(path), path, "no tensor conv1.weight")


class Normalization(InFolder):
    images = Weights.images
    same = Weights.same

    def normalized(self, mean=MEAN, std=STD):
        """`model()` behind a normalization that is not part of it."""
        plain = model()
        mean, std = (torch.tensor([float(v) for v in text.split(",")]).reshape(3, 1, 1) for text in (mean, std))

        class Outside(torch.nn.Module):
            def forward(self, x):
                return plain((x - mean) / std)

        return Outside().eval()

    def of(self, **arguments):
        """The weights of `model()` behind a normalization."""
        made = ResNet34(2, **arguments)
        made.load_state_dict(model().state_dict())
        return made.eval()

    def test_normalization_is_the_first_layer_and_no_part_of_the_state_dict(self):
        made = self.of(mean=(0.4914, 0.4822, 0.4465), std=[0.2023, 0.1994, 0.2010])
        self.assertEqual(list(made.state_dict()), list(ResNet34(2).state_dict()))
        self.same(made, self.normalized())
        self.same(self.of(mean=MEAN, std=STD), self.normalized())
        self.assertEqual(made.double().mean.dtype, torch.float64)

    def test_mean_and_std_are_read_from_the_metadata_of_the_weights(self):
        state = model().state_dict()
        path = self.write(safetensors(state, {"mean": MEAN, "std": STD}))
        self.same(load_resnet34(path), self.normalized())
        self.same(load_resnet34(path, [0.4914, 0.4822, 0.4465], (0.2023, 0.1994, 0.201)), self.normalized())
        plain = self.write(safetensors(state), "plain.safetensors")
        self.same(load_resnet34(plain), model())
        self.same(load_resnet34(plain, mean=MEAN, std=STD), self.normalized())

    def test_a_mean_or_std_that_contradicts_the_metadata_is_refused(self):
        path = self.write(safetensors(model().state_dict(), {"mean": MEAN, "std": STD}))
        for mean, std in (((0.5, 0.5, 0.5), STD), (MEAN, (1, 1, 1))):
            self.refused(lambda: load_resnet34(path, mean, std), path, "contradict", MEAN, STD)

    def test_a_mean_alone_a_std_of_zero_and_other_texts_are_refused(self):
        state = model().state_dict()
        for wrong in (
            {"mean": MEAN},
            {"std": STD},
            {"mean": "0,0", "std": STD},
            {"mean": "0,0,nan", "std": STD},
            {"mean": "a,b,c", "std": STD},
            {"mean": MEAN, "std": "1,0,1"},
            {"mean": MEAN, "std": "1,-1,1"},
        ):
            path = self.write(safetensors(state, wrong))
            self.refused(lambda: load_resnet34(path), path, "std" if "mean" not in wrong else "m")
            self.assertRaises(ValueError, ResNet34, 2, **wrong)
        for wrong in (0.5, ("a", 1, 1), (1, 1), [[1, 1, 1]]):
            self.assertRaises(ValueError, ResNet34, 2, mean=wrong, std=STD)

    def test_load_surrogate_gives_the_attacked_model_of_a_store(self):
        weights = safetensors(model().state_dict())
        path = make_store(self.at("plain.db"), config={"width": "2"}, weights=weights)
        self.same(load_surrogate(path), model())
        path = make_store(self.at("store#.db"), config={"mean": MEAN, "std": STD}, weights=weights)
        self.same(load_surrogate(path), self.normalized())

    def test_load_surrogate_prefers_the_mean_and_std_of_the_config(self):
        ones, zeros = "1,1,1", "0,0,0"
        weights = safetensors(model().state_dict(), {"mean": zeros, "std": ones})
        path = make_store(self.at("store.db"), config={"mean": MEAN, "std": STD}, weights=weights)
        self.same(load_surrogate(path), self.normalized())
        path = make_store(self.at("header.db"), weights=safetensors(model().state_dict(), {"mean": MEAN, "std": STD}))
        self.same(load_surrogate(path), self.normalized())

    def test_load_surrogate_refuses_damaged_weights_and_config(self):
        weights = safetensors(model().state_dict())
        for statement, part in (
            ("UPDATE model SET weights = zeroblob(8)", "weights are damaged"),
            ("UPDATE model SET config = '[]'", "config"),
            ("UPDATE model SET config = '{\"mean\": \"0,0\", \"std\": \"1,1,1\"}'", "mean '0,0'"),
            ("UPDATE attack SET model_id = 2", "0 attacked models"),
        ):
            path = make_store(self.at("store.db"), weights=weights)
            change(path, statement)
            self.refused(lambda: load_surrogate(path), path, part)
            os.remove(path)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        GOLDEN.write_text(json.dumps([drawn(case) for case in CASES], indent=1) + "\n")
    else:
        unittest.main()
