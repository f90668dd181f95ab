"""Records of finished runs: what the page needs of a run folder, as JSON."""

import datetime
import hashlib
import json
import pathlib
import re
import sqlite3
import sys
import tomllib

ROUND = re.compile(r"((?:.*/)?every-(\d+))/round-(\d+)$")
# Methods by another name; their runs are not evaluated on stored samples.
METHODS = {"pretrain": "baseline"}
# Results by class and by distance are in the run's own report.
LEFT_OUT = ("classes", "by_distance")
# Settings that are paths of the machine.
PATHS = ("data", "db", "more_db", "init")


def read_json(path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def warn(message):
    print(f"warning: {message}", file=sys.stderr)


def white_box(folder):
    """Evaluations under attacks on the model itself: a list, each with a result for each budget."""
    found, best, files = [], folder / "best.safetensors", sorted(folder.glob("*/robust.json"))
    weights = hashlib.sha256(best.read_bytes()).hexdigest() if files and best.exists() else None
    for path in files:
        file = read_json(path)
        if weights and weights != file["model_sha256"]:
            warn(f"{path}: left out, since it is of other weights than {best}")
            continue
        detector = (file["detector"] or {}).get("results", [])
        defended = {result["eps"]: result["robust"] for result in detector}
        results = [result | {"with_detector": defended.get(result["eps"])} for result in file["results"]]
        kept = {key: file[key] for key in ("norm", "split", "images", "clean")}
        failed = [check["name"] for check in file.get("sanity", []) if not check["ok"]]
        found.append(kept | {"folder": path.parent.name, "changed": file.get("changed") or {}, "failed_checks": failed, "results": results})
    return found


def evaluation(folder):
    """Accuracies on stored samples: a list of splits, and the hash of the baseline; none without an evaluation."""
    file = read_json(folder / "report.json")
    if file is None:
        return None
    splits = []
    for split in file["splits"]:
        if split["clean"] is not None:
            split["baseline"] = {k: v for k, v in (split["baseline"] or {}).items() if k not in LEFT_OUT}
            splits.append({k: v for k, v in split.items() if k not in LEFT_OUT})
    return {"surrogate": file["surrogate"], "splits": splits}


def images_per_epoch(config, epoch):
    """Training images, from what is known: the draws of an epoch, the limit, or the store."""
    if epoch["mixture"]:
        return sum(epoch["mixture"]["drawn"].values())
    if "limit" in config:
        return config["limit"]
    store = pathlib.Path(config.get("db", ""))
    if not store.is_file():
        return None
    with sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True) as db:
        return db.execute("SELECT count(*) FROM image WHERE split = 'train'").fetchone()[0]


def commands(runs):
    """What the scripts started, by the output: date, commit, machine and command of its last start from nothing."""
    found = {}
    for path in runs.glob("**/commands"):
        for line in path.read_text().splitlines():
            date, commit, machine, command = line.split("\t")
            if output := re.search(r" --out (\S+)", command):
                # Without paths of the machine.
                command = re.sub(r"^\S*/", "", re.sub(r" --data \S+", " --data DATA", command))
                for folder in (runs.absolute(), runs):
                    command = command.replace(f"{folder}/", "RUNS/")
                started = {"date": date, "commit": commit, "machine": machine, "command": command}
                found[pathlib.Path(output[1]).absolute()] = started
    return found


def read_run(folder):
    """Settings of a run, and what it measured after each epoch."""
    config = tomllib.loads((folder / "config.toml").read_text())
    metrics = folder / "metrics.jsonl"
    epochs = []
    for line in metrics.read_text().splitlines(keepends=True) if metrics.exists() else []:
        # A run that was killed may have half a line at the end, and an epoch twice.
        if line.endswith("\n") and line.strip():
            epoch = json.loads(line)
            if not epochs or epoch["epoch"] > epochs[-1]["epoch"]:
                epochs.append(epoch)
    return config, epochs


def record(folder, started):
    """What is kept of a finished run; none of an unfinished one."""
    config, epochs = read_run(folder)
    evaluated = evaluation(folder)
    if len(epochs) < config["epochs"] or (evaluated is None and config["method"] not in METHODS):
        return None
    day = datetime.date.fromtimestamp((folder / "metrics.jsonl").stat().st_mtime).isoformat()
    return {
        "method": METHODS.get(config["method"], config["method"]),
        "epochs": len(epochs),
        "images": images_per_epoch(config, epochs[-1]),
        "hours": sum(epoch["seconds"] for epoch in epochs) / 3600,
        "config": {key: value for key, value in config.items() if key not in PATHS},
        "curve": [[epoch["train"]["accuracy"], epoch["val"]["clean"], epoch["val"].get("robust")] for epoch in epochs],
        "white_box": white_box(folder),
        "evaluation": evaluated,
        "date": day,
    } | started.get(folder.absolute(), {})


def records(runs):
    """All finished runs below a folder, by path. The last round of a refresh period stands for all of its rounds."""
    found, started = {}, commands(runs)
    for path in sorted(runs.glob("**/metrics.jsonl")):
        name = path.parent.relative_to(runs).as_posix()
        if new := record(path.parent, started):
            found[name] = new
    rounds = {}
    for name in list(found):
        if match := ROUND.match(name):
            rounds.setdefault(match[1], {})[int(match[3])] = found.pop(name)
    for name, parts in rounds.items():
        last = parts[max(parts)]
        # Only the last round is evaluated, once all are done.
        if last["white_box"]:
            sums = {key: sum(part[key] for part in parts.values()) for key in ("epochs", "hours")}
            curve = [point for number in sorted(parts) for point in parts[number]["curve"]]
            period = int(ROUND.match(f"{name}/round-0")[2])
            found[name] = last | sums | {"method": "rounds", "refresh": period, "curve": curve}
    return found
