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
EVALUATIONS = {"PGD-50 x 5": (["pgd"], {"steps": 50, "restarts": 5}), "AutoAttack": (["apgd-ce", "apgd-t", "fab-t", "square"], {})}


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
    line = lambda cells: "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


def without_seed(folder, label, run):
    """The label of a run without its seed's folder and number; of a baseline, its method."""
    if not label.startswith(folder):
        return run["method"]
    name = re.sub(rf"-{run['config']['seed']}$", "", re.sub(r"(^|/)seed-\d+/", r"\1", folder))
    return name + label.removeprefix(folder)


def with_means(rows, *shows):
    """Rows of a run, its folder, its label and its numbers, as text, each column by its function; after them the mean and standard
    deviation of runs that differ in nothing but their seed, and lie in one folder of seeds."""
    groups, texts = {}, []
    for run, folder, label, values in rows:
        settings = {key: value for key, value in run["config"].items() if key not in OF_THE_SEED}
        measured = [split["images"] for split in run["evaluation"]["splits"]]
        group = SEED_FOLDER.sub("", folder), run["images"], repr(measured), repr(settings), run["method"]
        groups.setdefault(group, []).append((run, without_seed(folder, label, run), values))
        texts.append([label, *(show(value) for show, value in zip(shows, values, strict=True))])
    for (*_, method), members in groups.items():
        seeds = [run["config"]["seed"] for run, *_ in members]
        if len(set(seeds)) == len(members) > 1:
            cells = []
            for show, column in zip(shows, zip(*(values for *_, values in members))):
                known = None not in column
                cells.append(f"{show(statistics.mean(column))} ± {show(statistics.stdev(column))}" if known else "–")
            names = {name for _, name, _ in members}
            name = names.pop() if len(names) == 1 else method
            texts.append([f"{name}, mean of seeds {', '.join(map(str, seeds))}", *cells])
    return texts


def evaluated(runs):
    """Runs that were measured on stored samples of the paper's attacks, with their splits by name."""
    for name, run in runs.items():
        splits = {split["split"]: split for split in (run["evaluation"] or {}).get("splits", [])}
        if any("fgsm" in split["attacks"] for split in splits.values()):
            yield name, run, splits


def baselines(runs):
    """Each attacked model once for each store: the folder of a run on it, its label, the run as one of the baseline, and its
    accuracies by split, none where it was not measured."""
    seen = []
    for folder, run, splits in evaluated(runs):
        surrogate = run["evaluation"]["surrogate"]
        accuracies = {name: split["baseline"] for name, split in splits.items() if split["baseline"]}
        if accuracies and (surrogate, accuracies) not in seen:
            seen.append((surrogate, accuracies))
            settings = {"seed": run["config"]["seed"], "surrogate": surrogate["name"]}
            yield folder, f"baseline {surrogate['sha256'][:8]}", run | {"method": "baseline", "config": settings}, accuracies


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
            measured.append((run, folder, label, values))
        rows += with_means(measured, *[percent] * len(SPLITS))
    if not rows:
        return None
    rows += [[f"*paper: {model}*", percent(value), "–"] for model, value in paper("MIXED")]
    rows += [[f"*implied by the paper's Table 4: {model}*", percent(implied(row)), "–"] for model, row in paper("BY_ATTACK")]
    return table(["model", *SPLITS], rows)


def detectors(runs):
    """Table 3: the detector's accuracy, and the classifier's, on the mixed set."""
    measured = []
    for name, run, splits in evaluated(runs):
        if "joint" in run["config"] and any(split["detector"] for split in splits.values()):
            values = []
            for split in SPLITS:
                detector = splits.get(split, {}).get("detector") or {}
                classifier = splits[split]["mixed"]["accuracy"] if split in splits else None
                values += [detector.get("accuracy"), detector.get("auc"), classifier]
            joint, share = run["config"]["joint"], run["config"]["sampling"]["adv_ratio"]
            label = f"{name} ({joint['detector_input']}, share {share}, {joint['detector_layers']} layers)"
            measured.append((run, name, label, values))
    if not measured:
        return None
    rows = with_means(measured, *[percent, decimals, percent] * len(SPLITS))
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
                measured.append((run, folder, label, values))
        rows += with_means(measured, *[percent] * (len(ATTACKS) + 2))
    if not rows:
        return None
    if split == "val":  # held-out training images, as the paper's
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


def standard(run):
    """Results of the standard evaluations on `test` in Linf, by budget and number of images, and by evaluation."""
    found = {}
    for evaluation in run["white_box"]:
        for result in evaluation["results"]:
            for name, (attacks, changed) in EVALUATIONS.items():
                if (list(result["attacks"]), evaluation["changed"], evaluation["norm"], evaluation["split"]) == (attacks, changed, "linf", "test"):
                    found.setdefault((result["eps"], evaluation["images"]), {})[name] = evaluation | result
    return found


def budget(norm, eps):
    return f"{255 * eps:g}/255" if norm == "linf" else f"{eps:g}"


def accuracy(result):
    if result is None:
        return "–"
    low, high = result["interval"]
    return f"{percent(result['robust'])} ({percent(low)} to {percent(high)})"


def white_box(runs):
    """Attacks on the models themselves: the standard evaluations."""
    rows = []
    for name, run in runs.items():
        for (eps, images), found in sorted(standard(run).items()):
            clean = percent(next(iter(found.values()))["clean"])
            # At 5 % false positives.
            defended = [result["with_detector"][1] for result in found.values() if result["with_detector"]]
            cells = [accuracy(found.get(evaluation)) for evaluation in EVALUATIONS]
            rows.append([name, run["method"], budget("linf", eps), f"{images:,}", clean, *cells, percent(min(defended, default=None))])
    return rows and table(["run", "method", "budget", "images", "clean", *EVALUATIONS, "with detector"], rows)


def other_evaluations(runs):
    """Attacks on the models themselves with other settings."""
    rows = []
    for name, run in runs.items():
        shown = [result for found in standard(run).values() for result in found.values()]
        for evaluation in run["white_box"]:
            for result in evaluation["results"]:
                if evaluation | result not in shown:
                    changed = [f"{value} {key}" for key, value in evaluation["changed"].items()]
                    attacks = ", ".join([*result["attacks"], *changed])
                    measured = f"{evaluation['images']:,} of {evaluation['split']}"
                    against = f"{evaluation['norm']} {budget(evaluation['norm'], result['eps'])}"
                    rows.append([name, evaluation["folder"], attacks, against, measured, percent(evaluation["clean"]), accuracy(result)])
    return rows and table(["run", "evaluation", "attacks", "budget", "images", "clean", "robust"], rows)


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
