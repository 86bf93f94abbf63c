"""The parts of the page, each made from a `Run` and nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.equivariance import METRIC_NAMES
from ..metrics.paired import lower_is_better
from . import numbers
from .boxes import fold, pretty, result_box, scroll_table
from .drawing import Scale
from .figures import COLOURS, OTHER_COLOUR, angle_figure, objects_figure, training_figure
from .html import Html, h, join, typeset
from .numbers import TITLES
from .pictures import error_legend, object_pictures, picture_gain
from .run import LABELS, Run, read_picture
from .words import CLAIM, Summary, object_table

SHOWN_OBJECTS = 12
EXPLANATION = {
    "APE": "average pixel error = mean distance in pixels between the match and the true place / shortest image edge "
    "\u00d7 100. Lower is better.",
    "PCDP@t": "percentage of correct dense points = share of points with error < t \u00d7 shortest image edge. Higher "
    "is better.",
    "Averages": "a pair's score is the mean over its visible points, an object's the mean over its ordered pairs of "
    "views, the score in the table the mean over objects; n is the number of objects.",
    "Intervals": "95 % percentile bootstrap over objects (10,000 draws); none is given for fewer than 5 objects. For a "
    "difference, objects are drawn in pairs (the same objects before and after).",
    "Angle": "between the two viewing directions, from the cameras to the centre of the object.",
}
CONTROL_WORDS = {
    "Pretrained": "the backbone's own features at the same blocks and resolution.",
    "Last block": "the backbone's last block alone, what most people use.",
    "Fixed average": "the method's fixed parts (averaging, several blocks) without having seen any object.",
    "Random head": "an untrained 3\u00d73 convolution on the same features.",
}


def head(run: Run, summary: Summary) -> Html:
    """The verdict, and the remarks that must be read before any number."""
    return result_box(summary.verdict, summary.label, summary.sentences, run.notes)


def scores(run: Run) -> Html:
    """All variants by all metrics, overall and in each angle bin."""
    parts = [_overall_table(run), h("h3", f"{TITLES[CLAIM]} by angle between the views"), _angle_table(run, CLAIM)]
    parts += [h("h3", "What changed"), _difference_table(run)] if run.difference else []
    others = [join(h("h3", TITLES[m]), _angle_table(run, m)) for m in METRIC_NAMES if m != CLAIM]
    parts.append(fold("The other metrics by angle", *others))
    return join(*parts, _other_protocols(run))


def _overall_table(run: Run) -> Html:
    columns = {m: {v: s["metrics"][m] for v, s in run.variants.items()} for m in METRIC_NAMES}
    return _variant_table(run, "Scores of every variant", columns, {m: m for m in METRIC_NAMES})


def _angle_table(run: Run, metric: str) -> Html:
    by_variant = {v: s["metrics"][metric].get("by_angle", {}) for v, s in run.variants.items()}
    bins = list(dict.fromkeys(b for found in by_variant.values() for b in found))
    empty = {"value": None, "ci95": None, "n": 0}
    columns = {f"{b}\u00b0": {v: found.get(b, empty) for v, found in by_variant.items()} for b in bins}
    if not columns:
        return h("p", "This run has no scores by angle.", class_="hint")
    return _variant_table(run, f"{TITLES[metric]} by angle", columns, dict.fromkeys(columns, metric))


def _variant_table(
    run: Run, caption: str, columns: Mapping[str, Mapping[str, Mapping[str, Any]]], metrics: Mapping[str, str]
) -> Html:
    """Lay out {"value", "ci95", "n"} entries, one row a variant, the best of each column in bold."""
    best = {c: numbers.best_of({v: e["value"] for v, e in by.items()}, metrics[c]) for c, by in columns.items()}
    titles = [h("th", _column_title(c, metrics[c]), scope="col") for c in columns]
    body = []
    for variant in run.variants:
        cells = [_entry(by[variant], variant in best[c] and len(run.variants) > 1) for c, by in columns.items()]
        body.append(h("tr", _variant_name(variant), *cells, class_="ours" if variant == "adapted" else None))
    return scroll_table(caption, [h("tr", h("th", "Features", scope="col"), *titles)], body)


def _difference_table(run: Run) -> Html:
    """Lay out the paired differences, to the pretrained features and to the best control."""
    body, bins = [], list(next(iter(run.difference.values())).get("by_angle", {}))
    for metric in (CLAIM, "ape"):
        change = run.difference.get(metric)
        if change is None:
            continue
        against = change.get("vs_best_control")
        name = LABELS.get(against.get("control"), "best control").lower() if against else ""
        for label, part in (("pretrained", change), (f"{name} (best control)", against)):
            if part:
                entries = [part, *(part.get("by_angle", {}).get(b, {"value": None}) for b in bins)]
                cells = [_change(entry, metric) for entry in entries]
                body.append(h("tr", h("th", f"{TITLES[metric]}: adapted minus {label}", scope="row"), *cells))
    titles = [h("th", text, scope="col") for text in ("All angles", *(f"{b}\u00b0" for b in bins))]
    header = h("tr", h("th", "Paired difference, points", scope="col"), *titles)
    return scroll_table("Paired differences", [header], body)


def _change(entry: Mapping[str, Any], metric: str) -> Html:
    value, ci95 = entry["value"], entry.get("ci95")
    small = [h("small", typeset(numbers.interval(ci95, sign=True)))] if ci95 else []
    small += [h("small", f"{entry['n_improved']} of {entry['n']} better")] if entry.get("n") else []
    return h("td", typeset(numbers.signed(value)), *small, class_=_direction(value, metric, ci95))


def _direction(value: float | None, metric: str, ci95: Sequence[float] | None = None) -> str | None:
    """Name the colour of a difference; none when it is nothing or its interval reaches zero."""
    if not value or (ci95 and ci95[0] <= 0 <= ci95[1]):
        return None
    return "up" if (value < 0) == lower_is_better(metric) else "down"


def _column_title(column: str, metric: str) -> str:
    arrow = "\u2193" if lower_is_better(metric) else "\u2191"
    return f"{TITLES.get(column, column)} {arrow}"


def _variant_name(variant: str) -> Html:
    colour = COLOURS.get(variant, OTHER_COLOUR)
    return h("th", h("span", class_="swatch", style=f"background:{colour}"), LABELS.get(variant, variant), scope="row")


def _entry(entry: Mapping[str, Any], is_best: bool) -> Html:
    value = typeset(numbers.number(entry["value"]))
    ci95 = numbers.interval(entry.get("ci95"))
    small = [h("small", ci95)] if ci95 else []
    small += [h("small", f"n = {entry['n']}")] if "n" in entry else []
    return h("td", h("b", value) if is_best else value, *small, class_="best" if is_best else None)


def _other_protocols(run: Run) -> Html:
    names = {"in_mask": "Search inside the target's mask only", "unambiguous": "Without ambiguous points"}
    parts = []
    for key, title in names.items():
        found = {v: numbers.other_protocol(rows, key) for v, rows in run.rows.items()}
        if found and all(found.values()):
            columns = {m: {v: f[m] for v, f in found.items() if f} for m in METRIC_NAMES}
            if set(found) == set(run.variants):
                parts += [h("h3", title), _variant_table(run, title, columns, {m: m for m in METRIC_NAMES})]
    share = numbers.ambiguous_share(next(iter(run.rows.values()), []))
    if share is not None:
        text = f"{share:.1f} % of the scored points are ambiguous: another part of the surface looks the same."
        parts.insert(0, h("p", text))
    return fold("The same with other protocols (mask search, without ambiguous points)", *parts) if parts else Html("")


def angles(run: Run) -> Html:
    """Curves against the angle: claim bins and finer ones."""
    fine = {m: {v: numbers.fine_by_angle(rows, m) for v, rows in run.rows.items()} for m in METRIC_NAMES}
    shown = join(*(_angle_pair(run, m, fine[m]) for m in (CLAIM, "ape")))
    others = [_angle_pair(run, m, fine[m]) for m in METRIC_NAMES if m not in (CLAIM, "ape")]
    hint = h("p", "Vertical bars are 95 % intervals over objects. Bins without a pair are left out.", class_="hint")
    return join(hint, shown, fold("PCDP@0.1 and PCDP@0.2", *others), fold("30-degree bins in numbers", *_fine(fine)))


def _angle_pair(run: Run, metric: str, fine: Mapping[str, Any]) -> Html:
    claim = {v: s["metrics"][metric].get("by_angle", {}) for v, s in run.variants.items()}
    figures = []
    if all(claim.values()):
        drawing = angle_figure(metric, claim, "the three bins of the claim")
        figures.append(h("figure", drawing, h("figcaption", f"{TITLES[metric]}, the three bins claims are made on")))
    if fine:
        drawing = angle_figure(metric, fine, "bins of 30 degrees")
        figures.append(h("figure", drawing, h("figcaption", f"{TITLES[metric]}, bins of 30 degrees")))
    return h("div", *figures, class_="two")


def _fine(fine: Mapping[str, Mapping[str, Any]]) -> list[Html]:
    parts = []
    for metric, by_variant in fine.items():
        if not by_variant:
            continue
        bins = list(next(iter(by_variant.values())))
        best = {b: numbers.best_of({v: f[b]["value"] for v, f in by_variant.items()}, metric) for b in bins}
        header = h("tr", h("th", "Features", scope="col"), *(h("th", f"{b}\u00b0", scope="col") for b in bins))
        body = [
            h("tr", _variant_name(v), *(_entry(f[b], v in best[b] and len(by_variant) > 1) for b in bins))
            for v, f in by_variant.items()
        ]
        parts += [h("h3", TITLES[metric]), scroll_table(f"{TITLES[metric]} in 30-degree bins", [header], body)]
    return parts


def objects(run: Run) -> Html:
    """Every object: its scores and the paired difference."""
    if not run.rows:
        return h("p", "There is no rows.jsonl in this run, so single objects cannot be shown.")
    parts = [_object_part(run, CLAIM), fold("APE by object", _object_part(run, "ape"))]
    bad = [row for rows in run.rows.values() for row in rows if row["status"] != "ok"]
    if bad:
        reasons = sorted({str(row["status"]) for row in bad})
        parts.append(h("p", f"{len(bad)} rows are marked: {', '.join(reasons)}. They are counted, not hidden."))
    return join(*parts)


def _object_part(run: Run, metric: str) -> Html:
    table = object_table(run, metric)
    variants = list(table[0]["values"])
    paired = run.kind == "improve"
    titles = [h("th", LABELS.get(v, v), scope="col") for v in variants]
    titles += [h("th", "Difference", scope="col")] if paired else []
    header = h("tr", h("th", "Object", scope="col"), h("th", "Pairs", scope="col"), *titles)
    body = [_object_row(row, metric, paired) for row in table]
    return join(objects_figure(metric, table), scroll_table(f"{TITLES[metric]} by object", [header], body))


def _object_row(row: Mapping[str, Any], metric: str, paired: bool) -> Html:
    best = numbers.best_of(row["values"], metric) if len(row["values"]) > 1 else set()
    cells = []
    for variant, value in row["values"].items():
        text = numbers.number(value)
        cells.append(h("td", h("b", text), class_="best") if variant in best else h("td", text))
    if paired:
        change = row["difference"]
        cells.append(h("td", typeset(numbers.signed(change)), class_=_direction(change, metric)))
    return h("tr", h("th", row["object"], scope="row"), h("td", row["pairs"]), *cells)


def pictures(run: Run, scale: Scale) -> Html:
    """Matches, similarity and principal components of every object, largest gain first."""
    if not run.pictures:
        return h("p", "This run saved no pictures.")
    loaded = {name: read_picture(path) for name, path in run.pictures.items()}
    gains = {name: picture_gain(arrays) for name, arrays in loaded.items()}
    ordered = sorted(gains, key=lambda name: (-gains[name], name))
    shown = ordered if len(ordered) <= SHOWN_OBJECTS else ordered[: SHOWN_OBJECTS - 3] + ordered[-3:]
    words = (
        "One pair of views an object, in the order of what changed in this pair: the last one is the worst. Points are "
        "spread evenly from the best to the worst match and are the same before and after. Lines join a point to its "
        "match; a dashed line leads from the true place to a wrong match."
    )
    parts = [h("p", words, class_="hint"), error_legend()]
    for index, name in enumerate(shown):
        arrays = loaded[name]
        ends = "largest gain, " if index == 0 else "smallest, " if index == len(shown) - 1 else ""
        angle = f", {float(arrays['angle_deg']):.0f}\u00b0 apart" if "angle_deg" in arrays else ""
        hint = typeset(f"({ends}{gains[name]:+.0f} points within 5 %{angle})")
        is_open = index in (0, len(shown) - 1)
        parts.append(fold(name, object_pictures(name, f"p{index}", arrays, scale), is_open=is_open, hint=hint))
    if len(shown) < len(ordered):
        parts.append(h("p", f"{len(ordered) - len(shown)} more objects are in {run.folder.name}/pictures."))
    return join(*parts)


def training(run: Run) -> Html:
    """The log of the training, when there was one."""
    drawing = training_figure(run.log)
    parts = [drawing] if drawing else [h("p", "No gradient steps were logged (a closed-form recipe needs none).")]
    reasons: Counter[str] = Counter()
    for event in run.log:
        reasons.update(event.get("skipped") or {})
    if reasons:
        words = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
        parts.append(h("p", f"Left out during training and counted, with the reason: {words}."))
    if run.adapter:
        parts.append(fold("The adapter's record (adapter/equiview.json)", pretty(run.adapter)))
    return join(*parts)


def protocol(run: Run) -> Html:
    """How to read the numbers, and everything needed to repeat them."""
    words = EXPLANATION | (CONTROL_WORDS if run.kind == "improve" else {})
    reading = h("dl", *(join(h("dt", k), h("dd", v)) for k, v in words.items()))
    facts = _facts(run)
    short = h("dl", *(join(h("dt", k), h("dd", v)) for k, v in facts.items()))
    parts = [h("h3", "How to read this"), reading]
    parts += [h("h3", "This run"), short] if facts else []
    parts.append(fold("The whole protocol", pretty(run.protocol)))
    return join(*parts)


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
        "Views an object": settings.get("views"),
        "Points a view": run.protocol.get("measure", {}).get("points"),
        "Localisation": run.protocol.get("measure", {}).get("localisation"),
        "Seed": settings.get("seed", run.protocol.get("measure", {}).get("seed")),
        "Device": run.protocol.get("device"),
    }
    return {k: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in found.items() if v is not None}
