"""What the sections of a run's page show, each made from a `Run` alone; templates/run.html.j2 lays it out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.equivariance import METRIC_NAMES
from ..metrics.paired import lower_is_better
from ..records import Metrics
from . import numbers
from .boxes import Cell, Row, Table, number_cell
from .drawing import Scale
from .figures import COLOURS, OTHER_COLOUR, Chart, angle_figure, objects_figure, training_figure
from .numbers import TITLES
from .pictures import error_legend, object_pictures, picture_gain
from .run import LABELS, Run, read_picture
from .words import CLAIM, ObjectScores, object_table

SHOWN_OBJECTS = 12
EMPTY = {"value": None, "ci95": None, "n": 0}
EXPLANATION = {
    "APE": "average pixel error: mean distance in pixels between the match and the true place / shortest image edge "
    "\u00d7 100. Lower is better.",
    "PCDP@t": "percentage of correct dense points: share of points with error < t \u00d7 shortest image edge. Higher "
    "is better.",
    "Averages": "a pair's score is the mean over its visible points, an object's the mean over its ordered pairs of "
    "views, the score in the table the mean over objects; n is the number of objects.",
    "Intervals": "95 % percentile bootstrap over objects (10,000 draws); none is given for fewer than 5 objects. For a "
    "difference, objects are drawn in pairs (the same objects before and after).",
    "Angle": "between the two viewing directions, from the cameras to the centre of the object.",
}
CONTROL_WORDS = {
    "pretrained": "the backbone's own features at the same blocks and resolution.",
    "last_block": "the backbone's last block alone, what most people use.",
    "fixed_average": "the mean over 3\u00d73 tokens and the same blocks, without training on anything.",
    "without_object": "every fixed part of the adapter (blocks, averaging, centring, whitening) without what was "
    "learned from the training object. The strongest control: only a gain over it was learned.",
    "random_head": "an untrained 3\u00d73 convolution on the same features.",
}


def scores(run: Run) -> dict[str, object]:
    """All variants by all metrics, overall and in each angle bin."""
    return {
        "overall": _variant_table(run, "Scores of every variant", _overall(run), {m: m for m in _shown(run)}),
        "claim": TITLES[CLAIM],
        "by_angle": _angle_table(run, CLAIM),
        "change": _difference_table(run) if run.difference else None,
        "others": {TITLES[m]: _angle_table(run, m) for m in METRIC_NAMES if m != CLAIM},
        "protocols": _other_protocols(run),
        "ambiguous": numbers.ambiguous_share(next(iter(run.rows.values()), [])),
    }


def _overall(run: Run) -> dict[str, Metrics]:
    return {m: {v: s["metrics"][m] for v, s in run.variants.items()} for m in _shown(run)}


def _shown(run: Run) -> list[str]:
    return numbers.shown_metrics(run.variants.values())


def _angle_table(run: Run, metric: str) -> Table | None:
    by_variant = {v: s["metrics"][metric].get("by_angle", {}) for v, s in run.variants.items()}
    bins = list(dict.fromkeys(b for found in by_variant.values() for b in found))
    columns = {f"{b}\u00b0": {v: found.get(b, EMPTY) for v, found in by_variant.items()} for b in bins}
    if not columns:
        return None
    return _variant_table(run, f"{TITLES[metric]} by angle", columns, dict.fromkeys(columns, metric))


def _variant_table(
    run: Run, caption: str, columns: Mapping[str, Mapping[str, Mapping[str, Any]]], metrics: Mapping[str, str]
) -> Table:
    """Lay out {"value", "ci95", "n"} entries, one row a variant, the best of each column in bold."""
    best = {c: numbers.best_of({v: e["value"] for v, e in by.items()}, metrics[c]) for c, by in columns.items()}
    titles = [_column_title(c, metrics[c]) for c in columns]
    rows = []
    for variant in next(iter(columns.values())):
        several = len(run.variants) > 1
        cells = [_entry(by[variant], several and variant in best[c]) for c, by in columns.items()]
        rows.append(Row(_variant_name(variant), cells, "ours" if variant == "adapted" else ""))
    return Table(caption, ["Features", *titles], rows)


def _difference_table(run: Run) -> Table:
    """Lay out the paired differences, to the pretrained features and to the best control."""
    rows = []
    bins = list(next(iter(run.difference.values())).get("by_angle", {}))
    for metric in (CLAIM, "ape"):
        change = run.difference.get(metric)
        if change is None:
            continue
        against = change.get("vs_best_control")
        control = str(against.get("control", "")) if against else ""
        parts = {f"{LABELS.get(control, 'best control').lower()} (best control)": against} if against else {}
        # The pretrained features may be the best control themselves: then one row says it all.
        for label, part in (parts if control == "pretrained" else {"pretrained": change} | parts).items():
            if part:
                entries = [part, *(part.get("by_angle", {}).get(b, {"value": None}) for b in bins)]
                name_cell = Cell(f"{TITLES[metric]}: adapted minus {label}")
                rows.append(Row(name_cell, [_change(entry, metric) for entry in entries]))
    columns = ["Paired difference, points", "All angles", *(f"{b}\u00b0" for b in bins)]
    return Table("Paired differences", columns, rows)


def _change(entry: Mapping[str, Any], metric: str) -> Cell:
    value, ci95 = entry["value"], entry.get("ci95")
    better = f"{entry['n_improved']} of {entry['n']} better" if entry.get("n") else ""
    small = [numbers.interval(ci95, sign=True), better]
    return number_cell(value, small, sign=True, style=_direction(value, metric, ci95))


def _direction(value: float | None, metric: str, ci95: Sequence[float] | None = None) -> str:
    """Name the colour of a difference; none when it is nothing or its interval reaches zero."""
    if not value or (ci95 and ci95[0] <= 0 <= ci95[1]):
        return ""
    return "up" if (value < 0) == lower_is_better(metric) else "down"


def _column_title(column: str, metric: str) -> str:
    arrow = "\u2193" if lower_is_better(metric) else "\u2191"
    return f"{TITLES.get(column, column)} {arrow}"


def _variant_name(variant: str) -> Cell:
    return Cell(LABELS.get(variant, variant), swatch=COLOURS.get(variant, OTHER_COLOUR))


def _entry(entry: Mapping[str, Any], is_best: bool) -> Cell:
    small = [numbers.interval(entry.get("ci95")), f"n = {entry['n']}" if "n" in entry else ""]
    small.append(numbers.ceiling_words(entry))
    return number_cell(entry["value"], small, style="best" if is_best else "", bold=is_best)


def _other_protocols(run: Run) -> dict[str, Table]:
    names = {"in_mask": "Search inside the target's mask only", "unambiguous": "Without ambiguous points"}
    tables = {}
    for key, title in names.items():
        found = {v: numbers.other_protocol(rows, key) for v, rows in run.rows.items()}
        if all(found.values()) and set(found) == set(run.variants):
            columns = {m: {v: f[m] for v, f in found.items() if f} for m in METRIC_NAMES}
            tables[title] = _variant_table(run, title, columns, {m: m for m in METRIC_NAMES})
    return tables


def angles(run: Run) -> dict[str, object]:
    """Curves against the angle: the three bins of the claim and finer ones."""
    fine = {m: {v: numbers.fine_by_angle(rows, m) for v, rows in run.rows.items()} for m in METRIC_NAMES}
    charts = {m: _angle_charts(run, m, fine[m]) for m in METRIC_NAMES}
    shown = (CLAIM, "ape")
    return {
        "charts": [charts[m] for m in shown],
        "others": [charts[m] for m in METRIC_NAMES if m not in shown],
        "tables": {TITLES[m]: _fine_table(run, m, by_variant) for m, by_variant in fine.items() if by_variant},
    }


def _angle_charts(run: Run, metric: str, fine: Mapping[str, Any]) -> list[tuple[Chart, str]]:
    claim = {v: s["metrics"][metric].get("by_angle", {}) for v, s in run.variants.items()}
    found = []
    if all(claim.values()):
        found.append((angle_figure(metric, claim, "the three bins of the claim"), "the three bins claims are made on"))
    if fine:
        found.append((angle_figure(metric, fine, "bins of 30 degrees"), "bins of 30 degrees"))
    return [(chart, f"{TITLES[metric]}, {words}") for chart, words in found]


def _fine_table(run: Run, metric: str, by_variant: Mapping[str, Mapping[str, Any]]) -> Table:
    bins = list(next(iter(by_variant.values())))
    columns = {f"{b}\u00b0": {v: found[b] for v, found in by_variant.items()} for b in bins}
    return _variant_table(run, f"{TITLES[metric]} in 30-degree bins", columns, dict.fromkeys(columns, metric))


def objects(run: Run) -> dict[str, object] | None:
    """Every object: its scores and the paired difference; None without rows."""
    if not run.rows:
        return None
    bad = [row for rows in run.rows.values() for row in rows if row["status"] != "ok"]
    parts = {}
    for metric in (CLAIM, "ape"):
        table = object_table(run, metric)
        parts[metric] = (objects_figure(metric, table), _object_table(run, metric, table))
    reasons = sorted({str(row["status"]) for row in bad})
    return {"claim": parts[CLAIM], "ape": parts["ape"], "n_bad": len(bad), "reasons": reasons}


def _object_table(run: Run, metric: str, table: Sequence[ObjectScores]) -> Table:
    variants, paired = list(table[0]["values"]), run.kind == "improve"
    rows = []
    for one in table:
        best = numbers.best_of(one["values"], metric) if len(variants) > 1 else set()
        cells = [
            number_cell(value, style="best" if v in best else "", bold=v in best) for v, value in one["values"].items()
        ]
        change = one["difference"]
        cells += [number_cell(change, sign=True, style=_direction(change, metric))] if paired else []
        rows.append(Row(Cell(one["object"]), [Cell(str(one["pairs"])), *cells]))
    titles = [LABELS.get(v, v) for v in variants]
    columns = ["Object", "Pairs", *titles, *(["Difference"] if paired else [])]
    return Table(f"{TITLES[metric]} by object", columns, rows)


def pictures(run: Run, scale: Scale) -> dict[str, object]:
    """Matches, similarity and principal components of every object, largest gain first."""
    loaded = {name: read_picture(path) for name, path in run.pictures.items()}
    gains = {name: picture_gain(arrays) for name, arrays in loaded.items()}
    ordered = sorted(gains, key=lambda name: (-gains[name], name))
    shown = ordered if len(ordered) <= SHOWN_OBJECTS else ordered[: SHOWN_OBJECTS - 3] + ordered[-3:]
    drawn = []
    for index, name in enumerate(shown):
        arrays = loaded[name]
        ends = "largest gain, " if index == 0 else "smallest, " if index == len(shown) - 1 else ""
        angle = f", {float(arrays['angle_deg']):.0f}\u00b0 apart" if "angle_deg" in arrays else ""
        hint = numbers.typeset(f"({ends}{gains[name]:+.0f} points within 5 %{angle})")
        content = object_pictures(name, f"p{index}", arrays, scale)
        drawn.append({"name": name, "hint": hint, "open": index in (0, len(shown) - 1), "content": content})
    more = len(ordered) - len(shown)
    return {"objects": drawn, "legend": error_legend(), "more": more, "folder": f"{run.folder.name}/pictures"}


def training(run: Run) -> dict[str, object]:
    """The loss of every stage that logged steps, what was skipped and why, and the adapter's record."""
    reasons: Counter[str] = Counter()
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for event in run.log:
        reasons.update(event.get("skipped") or {})
        stages.setdefault(str(event.get("stage") or ""), []).append(event)
    curves = [(name, training_figure(name, events)) for name, events in stages.items()]
    return {
        "curves": [(f"Loss of stage {name}" if name else "", chart) for name, chart in curves if chart is not None],
        "skipped": ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common()),
        "adapter": run.adapter,
    }


def protocol(run: Run) -> dict[str, object]:
    """How to read the numbers, and everything needed to repeat them."""
    controls = {LABELS[v]: words for v, words in CONTROL_WORDS.items() if run.kind == "improve" and v in run.variants}
    return {"reading": EXPLANATION | controls, "facts": _facts(run), "whole": run.protocol}


def _facts(run: Run) -> dict[str, str]:
    """Pick the few settings a reader looks for first."""
    features, settings = run.protocol.get("features", {}), run.settings
    found = {
        "Backbone": run.backbone,
        "Weights (sha256)": features.get("weights_sha256"),
        "Recipe": run.recipe,
        "Trained on": settings.get("train_objects"),
        "Tested on": settings.get("test_objects", settings.get("objects")),
        "Blocks": features.get("blocks"),
        "Long side, px": features.get("long_side"),
        "Views per object": settings.get("views"),
        "Points per view": run.protocol.get("measure", {}).get("points"),
        "Localisation": run.protocol.get("measure", {}).get("localisation"),
        "Seed": settings.get("seed", run.protocol.get("measure", {}).get("seed")),
        "Device": run.protocol.get("device"),
    }
    return {k: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in found.items() if v is not None}
