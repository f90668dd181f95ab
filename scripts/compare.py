#!/usr/bin/env python3
"""What a bundle's run.sh measured, side by side: bench_X.txt and pytorch_X.txt of a folder come in,
a table of images per second and of ratios goes out.

    scripts/compare.py RESULTS
"""

import json
import pathlib
import sys


def rows(path):
    try:
        return {row["name"]: row for row in json.loads(path.read_text())["results"]}
    except (OSError, ValueError, KeyError):
        return {}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: scripts/compare.py RESULTS")
    print(f"{'':<16}{'precision':>10}{'batch':>7}{'ours':>10}{'PyTorch':>10}{'ratio':>8}  PyTorch's best")
    for path in sorted(pathlib.Path(sys.argv[1]).glob("bench_*.txt")):
        theirs = rows(path.with_name(path.name.replace("bench_", "pytorch_")))
        for name, row in rows(path).items():
            line = f"{name:<16}{row['precision']:>10}{row['batch']:>7}{row['images_per_s']:>10.4g}"
            if other := theirs.get(name):
                ratio = row["images_per_s"] / other["images_per_s"]
                line += f"{other['images_per_s']:>10.4g}{ratio:>8.2f}  {other['variant']}"
            print(line)


if __name__ == "__main__":
    main()
