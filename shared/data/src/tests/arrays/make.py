#!/usr/bin/env python3
"""NumPy array files for the tests of `formats/npy`: `python3 make.py` writes them with the NumPy there is."""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
SIGNED = np.array([3, 1 << 40, -7])

np.save(FOLDER / "bytes.npy", np.arange(6, dtype=np.uint8).reshape(2, 3))
np.save(FOLDER / "int32.npy", np.array([0, 1, -2, 9], dtype=np.int32))
np.save(FOLDER / "int64.npy", SIGNED)
np.save(FOLDER / "scalar.npy", np.array(200, dtype=np.uint8))
np.save(FOLDER / "empty.npy", np.zeros((0, 2), dtype=np.uint8))
with open(FOLDER / "version2.npy", "wb") as file:
    np.lib.format.write_array(file, SIGNED, version=(2, 0))
