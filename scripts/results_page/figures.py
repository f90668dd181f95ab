"""Line charts as SVG."""

import html
import math

from . import tables

COLORS = ["#2266aa", "#bb3322", "#228855", "#aa7711", "#7744aa", "#117788", "#995577", "#666666"]
LEFT, TOP, WIDTH, HEIGHT, RIGHT, BOTTOM = 60, 20, 420, 260, 150, 50


def chart(series, labels, title, logarithmic=False):
    """Accuracies in percent. A series is a name and points: place, fraction, and the interval's ends or nothing;
    labels are places and their words; a series of one point without a place is a dashed line."""
    places = [place for place, _ in labels]
    scale = math.log if logarithmic else float
    first, last = scale(min(places)), scale(max(places))
    highest = 10 * max(1, math.ceil(10 * max(point[1] for _, points in series for point in points)))
    x = lambda place: LEFT + WIDTH * (scale(place) - first) / ((last - first) or 1)
    y = lambda part: TOP + HEIGHT * (1 - 100 * part / highest)
    parts = []

    def text(x, y, anchor, words):
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{html.escape(str(words))}</text>')

    for level in range(0, highest + 1, 10):
        parts.append(f'<path d="M{LEFT},{y(level / 100):.1f}h{WIDTH}" stroke="#ddd"/>')
        text(LEFT - 8, y(level / 100) + 4, "end", f"{level} %")
    for place, words in labels:
        text(x(place), TOP + HEIGHT + 18, "middle", words)
    text(LEFT + WIDTH / 2, TOP + HEIGHT + 38, "middle", title)
    names = []
    for (name, points), color in zip(series, COLORS * len(series)):
        names.append((y(points[-1][1]), name, color))
        if points[0][0] is None:
            parts.append(f'<path d="M{LEFT},{y(points[0][1]):.1f}h{WIDTH}" stroke="{color}" stroke-dasharray="5 4"/>')
            continue
        path = " ".join(f"{x(point[0]):.1f},{y(point[1]):.1f}" for point in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for place, part, *interval in points:
            parts.append(f'<circle cx="{x(place):.1f}" cy="{y(part):.1f}" r="2.5" fill="{color}"/>')
            if interval:
                parts.append(f'<path d="M{x(place):.1f},{y(interval[0]):.1f}V{y(interval[1]):.1f}" stroke="{color}"/>')
    at = -math.inf
    for height, name, color in sorted(names):
        at = max(height + 4, at + 13)  # names do not overlap
        parts.append(f'<text x="{LEFT + WIDTH + 8}" y="{at:.0f}" fill="{color}">{html.escape(name)}</text>')
    size = f"{LEFT + WIDTH + RIGHT} {max(TOP + HEIGHT + BOTTOM, at + 13):.0f}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def pgd(run):
    """The result under PGD-50 x 5 at 8/255 on the most images; none without one."""
    found = [of["PGD-50 x 5"] for (eps, _), of in sorted(tables.standard(run).items()) if eps == 8 / 255 and "PGD-50 x 5" in of]
    return found[-1] if found else None


def refresh(runs):
    """Clean and robust accuracy over the refresh period, beside other methods; none without rounds."""
    points = {run["refresh"]: pgd(run) for run in runs.values() if run["method"] == "rounds" and pgd(run)}
    if not points:
        return None
    periods = sorted(points)
    never = max(len(run["curve"]) for run in runs.values() if run["method"] == "rounds")
    labels = [(period, "never" if period == never else period) for period in periods]
    series = [
        ("clean", [(period, points[period]["clean"]) for period in periods]),
        ("PGD-50 x 5", [(period, points[period]["robust"], *points[period]["interval"]) for period in periods]),
    ]
    for name, run in runs.items():
        if name.startswith("methods/") and (found := pgd(run)):
            series.append((f"{run['method']}, PGD-50 x 5", [(None, found["robust"])]))
    return chart(series, labels, "epochs between two refreshes of the stored samples", logarithmic=True)


def training(runs):
    """Accuracy on val under attack after each epoch, of the runs that measured it; none without any."""
    series, measured = {}, set()
    for name, run in runs.items():
        points = [(epoch + 1, robust) for epoch, (*_, robust) in enumerate(run["curve"]) if robust is not None]
        if points:
            series[name] = points
            of = run["config"]["robust_val"]
            measured.add(f"{of['images']} images of val under PGD-{of['steps']}, {of['eps']}")
    if not series:
        return None
    short = [name.split("/", 1)[-1] for name in series]
    named = [(part if short.count(part) == 1 else name, points) for part, (name, points) in zip(short, series.items())]
    last = max(points[-1][0] for _, points in named)
    step = max(1, last // 4)
    labels = [(epoch, epoch) for epoch in sorted({1, *range(step, last - step // 2, step), last})]
    return chart(named, labels, f"epoch; accuracy on {' or '.join(sorted(measured))}")
