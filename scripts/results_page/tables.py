"""Markdown tables of results: the paper's three, beside its own rows, and the white-box evaluations."""

import ast
import pathlib
import re
import statistics

ATTACKS = {"gaussian": "Gaussian", "fgsm": "FGSM", "bim": "BIM", "deepfool": "DeepFool", "cw": "C&W", "nst": "NST"}
SPLITS = ("val", "test")
# Settings that follow from the seed.
OF_THE_SEED = ("seed", "data_hash")
# What follows the folder of all seeds in a run's.
SEED_FOLDER = re.compile(r"(seed-\d+/)?[^/]+$")


def paper(name):
    """A table of the paper, from its one place in the trainer's source."""
    source = pathlib.Path(__file__).resolve().parents[2] / "trainer/src/report/paper.rs"
    found = re.search(rf"const {name}:[^=]*=\s*(\[.*?\]);", source.read_text(), re.DOTALL)
    return ast.literal_eval(found[1])


def implied(by_attack):
    """The accuracy on a mixed set in random order, half attacked, that a row of Table 4 implies."""
    return (by_attack[0] + statistics.mean(by_attack[1:])) / 2


def percent(value):
    return "–" if value is None else f"{100 * value:.1f}"


def decimals(value):
    return "–" if value is None else f"{value:.3f}"


def table(head, rows):
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


def with_means(rows):
    """Rows of a run, its folder, its label and its numbers, as text; after them the mean and standard deviation of runs that
    differ in nothing but their seed, and lie in one folder of seeds."""
    groups, texts = {}, []
    for run, folder, label, values, show in rows:
        settings = {key: value for key, value in run["config"].items() if key not in OF_THE_SEED}
        group = SEED_FOLDER.sub("", folder), run["images"], repr(settings), run["method"], show
        groups.setdefault(group, []).append((run, values))
        texts.append([label, *map(show, values)])
    for (*_, method, show), members in groups.items():
        if len({run["config"]["seed"] for run, _ in members}) == len(members) > 1:
            cells = []
            for column in zip(*(values for _, values in members)):
                known = None not in column
                cells.append(f"{show(statistics.mean(column))} ± {show(statistics.stdev(column))}" if known else "–")
            seeds = ", ".join(str(run["config"]["seed"]) for run, _ in members)
            texts.append([f"{method}, mean of seeds {seeds}", *cells])
    return texts


def evaluated(runs):
    """Runs that were measured on stored samples of the paper's attacks, with their splits by name."""
    for name, run in runs.items():
        splits = {split["split"]: split for split in (run["evaluation"] or {}).get("splits", [])}
        if any("fgsm" in split["attacks"] for split in splits.values()):
            yield name, run, splits


def baselines(runs):
    """Each attacked model once: the folder of a run on its store, its label, the run as one of the baseline, and its accuracies by split."""
    seen = set()
    for folder, run, splits in evaluated(runs):
        surrogate = run["evaluation"]["surrogate"]["sha256"]
        if surrogate not in seen and all(split["baseline"] for split in splits.values()):
            seen.add(surrogate)
            accuracies = {name: split["baseline"] for name, split in splits.items()}
            baseline = run | {"method": "baseline", "config": {"seed": run["config"]["seed"]}}
            yield folder, f"baseline {surrogate[:8]}", baseline, accuracies


def trained(runs):
    """Each run as `baselines` has them."""
    for name, run, splits in evaluated(runs):
        yield name, name, run, splits


def mixed_set(runs):
    """Table 2: accuracy on the mixed set."""
    rows = []
    runs = {name: run for name, run, _ in evaluated(runs) if float(run["evaluation"]["splits"][0]["mixed"]["share"]) == 0.5}
    for source, key in ((baselines, lambda split: split.get("mixed")), (trained, lambda split: split["mixed"]["accuracy"])):
        measured = []
        for folder, label, run, splits in source(runs):
            values = [key(splits[split]) if split in splits else None for split in SPLITS]
            measured.append((run, folder, label, values, percent))
        rows += with_means(measured)
    if not rows:
        return None
    rows += [[f"*paper: {model}*", percent(value), "–"] for model, value in paper("MIXED")]
    rows += [[f"*implied by the paper's Table 4: {model}*", percent(implied(row)), "–"] for model, row in paper("BY_ATTACK")]
    return table(["model", *SPLITS], rows)


def detectors(runs):
    """Table 3: the detector's accuracy, and the classifier's, on the mixed set."""
    rows = []
    for name, run, splits in evaluated(runs):
        if "joint" in run["config"] and any(split["detector"] for split in splits.values()):
            setting = run["config"]["joint"]
            cells = [f"{name} ({setting['detector_input']}, share {run['config']['sampling']['adv_ratio']}, {setting['detector_layers']} layers)"]
            for split in SPLITS:
                detector = splits.get(split, {}).get("detector") or {}
                classifier = splits[split]["mixed"]["accuracy"] if split in splits else None
                cells += [percent(detector.get("accuracy")), decimals(detector.get("auc")), percent(classifier)]
            rows.append(cells)
    if not rows:
        return None
    for kind, share, layers, accuracy, classifier in paper("DETECTOR"):
        rows.append([f"*paper: {kind}, share {share}, {layers} layers*", percent(accuracy), "–", percent(classifier), "–", "–", "–"])
    head = [f"{split} {what}" for split in SPLITS for what in ("detector", "AUC", "classifier")]
    return table(["run", *head], rows)


def by_attack(runs, split):
    """Table 4: accuracy on each attack's stored samples."""
    rows = []
    for source in (baselines, trained):
        measured = []
        for folder, label, run, splits in source(runs):
            if of := splits.get(split):
                values = [of["clean"], *(of["attacks"].get(attack) for attack in ATTACKS), of["worst_case"]]
                measured.append((run, folder, label, values, percent))
        rows += with_means(measured)
    if not rows:
        return None
    rows += [[f"*paper: {model}*", *map(percent, row), "–"] for model, row in paper("BY_ATTACK")]
    return table(["model", "clean", *ATTACKS.values(), "worst case"], rows)


def detection(runs, split):
    """AUC of the detector and its true positive rate at 5 % false positives, by attack."""
    rows = []
    for name, _, splits in evaluated(runs):
        attacks = (splits.get(split, {}).get("detection") or {}).get("attacks", {})
        if attacks:
            cells = []
            for attack in ATTACKS:
                found = attacks.get(attack, {})
                rates = [rate["changed"] for rate in found.get("tpr", []) if rate["fpr"] == 0.05]
                cells.append(f"{decimals(found.get('auc'))} / {percent(rates[0] if rates else None)}")
            rows.append([name, *cells])
    return rows and table(["run", *ATTACKS.values()], rows)


def accuracy(evaluation):
    if evaluation is None:
        return "–"
    low, high = evaluation["interval"]
    return f"{percent(evaluation['robust'])} ({percent(low)} to {percent(high)})"


def with_rejection(evaluation):
    """Robust accuracy where the detector may reject, at 5 % false positives, under adaptive attacks."""
    detector = (evaluation or {}).get("detector")
    return percent(detector["results"][0]["robust"][1]) if detector and detector["results"] else "–"


def white_box(runs):
    """Attacks on the models themselves."""
    rows = []
    for name, run in runs.items():
        pgd, auto = (run["white_box"].get(key) for key in ("pgd-50-5", "robust"))
        if evaluation := pgd or auto:
            clean = percent(evaluation["clean"])
            rows.append([name, run["method"], clean, accuracy(pgd), accuracy(auto), with_rejection(auto or pgd)])
    return rows and table(["run", "method", "clean", "PGD-50 x 5", "AutoAttack", "with detector"], rows)


def states(unfinished):
    """How far unfinished runs are, those of a state together."""
    rows = {}
    for name, state in unfinished:
        rows.setdefault(state, []).append(name)
    return rows and table(["state", "runs"], [(state, ", ".join(names)) for state, names in rows.items()])


def costs(runs):
    """What each run took, and what was run."""
    rows = []
    for name, run in runs.items():
        seen = f"{run['images'] * run['epochs']:,}" if run["images"] else "–"
        cells = [name, run["epochs"], seen, f"{run['hours']:.2f}", run["config"]["seed"], run.get("commit", "–"), run["date"]]
        rows.append([*cells, f"`{run['command']}`" if "command" in run else "–"])
    return table(["run", "epochs", "images seen", "hours", "seed", "commit", "date", "command"], rows)
