"""That mithridate.py draws what golden.json says, which trainer/src/sampler/tests.rs asks the trainer
for, too; and that it refuses what it should.

    python3 python/test_mithridate.py            all tests
    python3 python/test_mithridate.py --write    golden.json anew
"""

import json
import pathlib
import sqlite3
import sys
import tempfile
import unittest

import mithridate

GOLDEN = pathlib.Path(__file__).with_name("golden.json")
ATTACKS = ["gaussian", "fgsm", "bim", "deepfool", "cw", "nst"]
CASES = [
    {"seed": 0, "adv_ratio": "0.5", "policy": "uniform", "bounds": ""},
    {"seed": 7, "adv_ratio": "0.25..0.75", "policy": "uniform", "bounds": "fgsm=0.1..0.5,cw=0..0.1,nst=0.2"},
    {"seed": 2**63, "adv_ratio": "1", "policy": "fixed", "bounds": "bim=0.5..1"},
]


def drawn(case):
    sampler = mithridate.Sampler(ATTACKS, **case)
    epochs = []
    for epoch in (0, 1, 40):
        share, probabilities = mixture = sampler.mixture(epoch)
        draws = [sampler.draw(mixture, epoch, image) for image in range(0, 60_000, 1_001)]
        epochs.append({"epoch": epoch, "share": share, "probabilities": probabilities, "draws": draws})
    return case | {"epochs": epochs}


class Tests(unittest.TestCase):
    def test_draws_are_the_trainers(self):
        self.assertEqual([drawn(case) for case in CASES], json.loads(GOLDEN.read_text()))

    def test_bounds_that_leave_no_mixture_are_refused(self):
        for bounds in ("fgsm=0.9..1,cw=0.2..1", "pgd=0..1", "fgsm=1..0"):
            with self.assertRaises(ValueError):
                mithridate.Sampler(ATTACKS, bounds=bounds)

    def test_what_is_no_store_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/other.db"
            sqlite3.connect(path).execute("CREATE TABLE a (b)").connection.close()
            with self.assertRaisesRegex(ValueError, "not an adversarial store"):
                mithridate.Adversarial(path)
            # A store's mark, but views in place of its tables.
            with sqlite3.connect(path) as db:
                db.execute(f"PRAGMA application_id = {0x4D697468}")
                for name in ("meta", "attack", "image", "sample"):
                    db.execute(f"CREATE VIEW {name} AS SELECT b FROM a")
            with self.assertRaisesRegex(ValueError, "not an adversarial store"):
                mithridate.Adversarial(path)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        GOLDEN.write_text(json.dumps([drawn(case) for case in CASES], indent=1) + "\n")
    else:
        unittest.main()
