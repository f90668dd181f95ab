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
    """The same of a training in rounds, over the rounds that have begun."""
    parts = [epochs(path) for path in folder.glob("round-*") if path.is_dir()]
    done = [part for part in parts if part and part[0] == part[1]]
    last = [part for part in parts if part and part[0] < part[1]]
    return len(done), last[0] if last else (0, None)


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
            rounds, (done, total) = of_rounds(folder)
            within = f", epoch {done} of {total} of the next" if total else ""
            yield name, f"{rounds} round{'s' * (rounds != 1)} ended{within}"
        elif found := epochs(folder):
            done, total = found
            yield name, f"epoch {done} of {total}" if done < total else "trained, not evaluated"
        else:
            yield name, "begun"
