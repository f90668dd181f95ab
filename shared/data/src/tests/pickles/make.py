#!/usr/bin/env python
"""Batches in CIFAR's Python version, for the tests: every protocol as Python 2 and Python 3 write it.

    python3 make.py    numpy-0 to numpy-4, with the NumPy there is
    python2 make.py    python2-0 to python2-2; a stand-in for NumPy will do, pickled as NumPy 1 is

Every file holds the same two images: byte i of image k is (7 i + 31 k) mod 256.
"""
from __future__ import print_function

import os
import sys

ROWS, COLUMNS = 2, 3072
PIXELS = bytearray((7 * i + 31 * k) % 256 for k in range(ROWS) for i in range(COLUMNS))
CLASSES = "plane car bird cat deer dog frog horse ship truck".split()


def stand_in():
    """A module numpy whose arrays are pickled as NumPy's are."""
    from types import ModuleType

    for name in ["numpy", "numpy.core", "numpy.core.multiarray"]:
        sys.modules[name] = ModuleType(name)
    numpy, multiarray = sys.modules["numpy"], sys.modules["numpy.core.multiarray"]

    class dtype(object):
        def __init__(self, name, align, copy):
            pass

        def __reduce__(self):
            return dtype, ("u1", 0, 1), (3, "|", None, None, None, -1, -1, 0)

    class ndarray(object):
        def __reduce__(self):
            state = (1, (ROWS, COLUMNS), dtype("u1", 0, 1), False, str(PIXELS))
            return _reconstruct, (ndarray, (0,), "b"), state

    def _reconstruct(subtype, shape, kind):
        return subtype()

    dtype.__module__ = ndarray.__module__ = "numpy"
    _reconstruct.__module__ = "numpy.core.multiarray"
    numpy.dtype, numpy.ndarray, multiarray._reconstruct = dtype, ndarray, _reconstruct
    return ndarray()


def main():
    if sys.version_info[0] == 2:
        import cPickle as pickle

        kind, array, protocols = "python2", stand_in(), range(3)
        key = str
    else:
        import pickle

        import numpy

        kind, protocols = "numpy", range(5)
        array = numpy.frombuffer(PIXELS, dtype=numpy.uint8).reshape(ROWS, COLUMNS).copy()
        key = str.encode
    batch = {
        key("batch_label"): key("training batch 1 of 5"),
        key("labels"): [3, 9],
        key("fine_labels"): [42, 99],
        key("data"): array,
        key("filenames"): [key("domestic_cat_s_000907.png"), key("it's.png")],
        key("label_names"): CLASSES,
        key("num_vis"): COLUMNS,
    }
    for protocol in protocols:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "%s-%d" % (kind, protocol))
        with open(path, "wb") as file:
            pickle.dump(batch, file, protocol)
        print(path)


if __name__ == "__main__":
    main()
