"""Planned runs that have not ended, and how far each has come."""

from .records import read_run

# The names of all planned runs below the folder of runs, a line each; written by scripts/results.
PLAN = "planned"


def epochs(folder):
    """Epochs that a run has done, and how many it is to do; none of a run that has not begun."""
    try:
        config, done = read_run(folder)
    except FileNotFoundError:
        return None
    return len(done), config["epochs"]


def of_rounds(folder):
    """How far a training in rounds is, in words."""
    runs = [path for path in folder.glob("round-*") if (path / "config.toml").exists()]
    parts = [epochs(path) for path in runs]
    ended = sum(done == total for done, total in parts)
    rounds = "no round"
    if runs:
        config, _ = read_run(runs[0])
        rounds = f"{ended} of {config['optimizer']['schedule']['epochs'] // config['epochs']} rounds"
    return rounds + "".join(f", epoch {done} of {total} of the next" for done, total in parts if done < total)


def unfinished(runs, ended):
    """(name, how far it has come) of each planned run that has not ended."""
    plan = runs / PLAN
    for name in plan.read_text().splitlines() if plan.exists() else []:
        folder = runs / name
        if name in ended:
            continue
        if not folder.is_dir():
            yield name, "not begun"
        elif list(folder.glob("round-*")):
            yield name, of_rounds(folder)
        elif found := epochs(folder):
            done, total = found
            yield name, f"epoch {done} of {total}" if done < total else "trained, not evaluated"
        else:
            yield name, "begun"
