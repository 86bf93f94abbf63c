"""Write docs/science.md from its text and the committed baselines, so that no number in it can drift from its file.

    python benchmarks/science.py

The text is benchmarks/science.md.in; {{ ... }} is a call of one of the functions below. tests/test_science.py holds the
two together.
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import tables

ROOT = Path(__file__).parents[1]
TEXT, PAGE = ROOT / "benchmarks" / "science.md.in", ROOT / "docs" / "science.md"
METHOD = "method_deit_tiny"
SEEN = ", three sizes and mirrored"
SOLIDS = ("white sphere", "white box", "thin rod")
MAIN = (
    "last block",
    "block 8 + average",
    "blocks 4,6,8,10",
    "one-step",
    "default",
    "lora-and-head",
    "| features",
    "|---",
)


@cache
def baseline(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "baselines" / f"{name}.json").read_text())


def entry(row: str, file: str = METHOD) -> dict[str, Any]:
    return baseline(file)["rows"][row]


def without(file: str = METHOD) -> str:
    return baseline(file)["protocol"]["without_object"]


# What the text calls ------------------------------------------------------------------------------------------------


def value(row: str, metric: str = "pcdp@0.05", file: str = METHOD) -> str:
    """Return a row's PCDP@0.05, APE or (`willow`, `willow_all`) PCK@0.10."""
    own = entry(row, file)
    return f"{own[metric]['pck@0.10'] if metric.startswith('willow') else own['metrics'][metric]['value']:.1f}"


def minus(row: str, control: str = "", metric: str = "pcdp@0.05", file: str = METHOD) -> str:
    """Return a row minus a control, with its interval; minus what learned nothing where none is named."""
    own, control = entry(row, file), control or without(file)
    found = own[metric]["difference_to"] if metric.startswith("willow") else own["difference_to"]
    return signed(found[control] if metric.startswith("willow") else found[control][metric])


def relative(row: str, control: str = "", metric: str = "pcdp@0.05", file: str = METHOD) -> str:
    """Return the same as a share of the control."""
    return f"{entry(row, file)['difference_to'][control or without(file)][metric]['relative']:+.1f} %"


def improved(row: str, control: str = "", file: str = METHOD) -> str:
    found = entry(row, file)["difference_to"][control or without(file)]["pcdp@0.05"]
    return f"{found['n_improved']} of {found['n']}"


def by_angle(row: str, control: str = "", file: str = METHOD) -> str:
    """Return the differences of the three bins."""
    found = entry(row, file)["difference_to"][control or without(file)]["pcdp@0.05"]["by_angle"]
    return ", ".join(signed(found[name]) for name in tables.BINS)


def each(rows: Sequence[str]) -> str:
    """Return, for several rows, what they gain and what transfer pays."""
    return "; ".join(f"`{row}` {minus(row)} (PF-WILLOW {minus(row, metric='willow')})" for row in rows)


def method_table(file: str = METHOD, short: bool = False) -> str:
    lines = tables.methods(baseline(file)["rows"], without(file))
    kept = [one for one in lines if one.startswith(MAIN) or one.startswith(tuple(f"| {name}" for name in MAIN))]
    return "\n".join(kept if short else lines)


def cost_table() -> str:
    return "\n".join(tables.cost(baseline("method_costs")))


def costs(row: str) -> str:
    own = baseline("method_costs")["rows"][row]
    return f"{own['wall_s']:.0f} s ({own['cpu_s']:.0f} CPU s, {own['peak_gb']:.1f} GB)"


def search_table() -> str:
    """Return a line a method, at the strength the rule picks."""
    lines = [
        "| method | n | strength | PCDP@.05 | minus nothing learned | PF-WILLOW | minus |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in baseline("search_deit_tiny")["rows"].items():
        at = found["best_strength"] if len(found["by_strength"]) > 1 else next(iter(found["by_strength"]))
        lines.append(f"| {name} | {searched(name, at)} |")
    return "\n".join(lines)


def searched(name: str, at: str | None) -> str:
    """Return the cells of a method of the search at one strength."""
    rows = baseline("search_deit_tiny")["rows"][name]["by_strength"]
    if at is None:
        least = max(own["willow_change"]["value"] for own in rows.values())
        return f"{next(iter(rows.values()))['repetitions']} | none | | | | {least:+.1f} at best"
    own = rows[at]
    shown = at if float(at) and len(rows) > 1 else ""
    cells = (own["repetitions"], shown, f"{own['pcdp@0.05']:.1f}", signed(own["gain"]), f"{own['willow']:.1f}")
    return " | ".join(map(str, (*cells, f"{own['willow_change']['value']:+.1f}")))


def at(name: str, strength: str) -> str:
    """Return what a method of the search gains, and what transfer pays."""
    own = baseline("search_deit_tiny")["rows"][name]["by_strength"][strength]
    return f"{own['gain']['value']:+.1f} at {own['willow_change']['value']:+.1f}"


def strengths(name: str) -> str:
    """Return a recipe's own row of the search, strength by strength."""
    rows = baseline("search_deit_tiny")["rows"][name]["by_strength"]
    return "; ".join(f"{at}: {r['gain']['value']:+.1f} at {r['willow_change']['value']:+.1f}" for at, r in rows.items())


def task(suite: str, name: str, data: str, metric: str, digits: int = 1) -> str:
    """Return the cells of a task: last block, nothing learned, adapted, and the last minus the other two."""
    found = baseline("adapter_deit_tiny")
    own = found[suite]["tasks"][name][data]["metrics"][metric]
    last = found[f"{suite}-last to {suite}-after"]["tasks"][name][data]["metrics"][metric]
    shown = [f"{one:.{digits}f}" for one in (last["before"], own["before"], own["after"])]
    more = 1 if digits < 3 else 2
    return " | ".join([*shown, signed(own, more), signed(last, more)])


def captured(experiment: str, recipe: str = "one_step") -> str:
    """Return the cells of an experiment on captures: every control, the adapted features, and the differences."""
    found = baseline(f"captures_{recipe}_deit_tiny")["experiments"][experiment]
    names = ("pretrained", "fixed_average", "without_object", "random_head")
    scores = [found["controls"][name]["metrics"]["pcdp@0.05"]["value"] for name in names]
    after = found["after"]["metrics"]["pcdp@0.05"]["value"]
    gain = found["difference"]["pcdp@0.05"]
    differences = [gain["vs_without_object"], gain["vs_best_control"]]
    return " | ".join([*(f"{one:.1f}" for one in (*scores, after)), *map(signed, differences)])


def own(way: str, strength: str, objects: str = "deit_tiny", metric: str = "gain") -> str:
    """Return what adapting to an object gives on its other views, or what transfer pays (`willow_change`)."""
    return signed(baseline(f"own_object_{objects}")["rows"][f"{way}, strength {strength}"][metric])


def own_value(row: str, objects: str = "deit_tiny") -> str:
    return f"{baseline(f'own_object_{objects}')['rows'][row]['pcdp@0.05']:.1f}"


def own_relative() -> str:
    """Return what `own-object` adds to nothing learned on its object's other views, as a share of it."""
    rows = baseline("own_object_deit_tiny")["rows"]
    return f"{100 * (rows['own-object, strength 1']['pcdp@0.05'] / rows[without()]['pcdp@0.05'] - 1):+.1f} %"


def capture_relative(experiment: str) -> str:
    """Return what an adapter of a capture adds to nothing learned, as a share of it."""
    found = baseline("captures_one_step_deit_tiny")["experiments"][experiment]["difference"]["pcdp@0.05"]
    return f"{found['vs_without_object']['relative']:+.1f} %"


def retained(recipe: str) -> str:
    """Return the lines of a recipe's retention report, one a strength above 0."""
    lines = []
    for own in baseline("retention_deit_tiny")["rows"][recipe]["strengths"][1:]:
        drift, change = own["drift"], own["difference"]
        moved = [signed(change[t][m]) for t, m in (("equivariance", "pcdp@0.05"), ("transfer", "pck@0.10"))]
        moved.append(signed(change["tracking"]["share_under_8px"], 3))
        kept = [number(drift[name]["value"], 2) for name in ("cosine", "cka", "neighbours")]
        lines.append(f"| {recipe} | {own['strength']:g} | {' | '.join([*kept, *moved])} |")
    return "\n".join(lines)


def taught(*names: str) -> str:
    """Return what a step on these objects gains, from the least to the most; on all that are whole things if none."""
    found = baseline("training_objects")["objects"]
    whole = [name for name in found if not name.endswith(" in plain grey") and name not in SOLIDS]
    gains = [found[name]["gain"] for name in names or whole]
    return f"{min(gains):+.1f}" if len(gains) == 1 else f"{min(gains):.1f} to {max(gains):.1f}"


def foretold() -> str:
    """Return the range of Spearman's rho between what can be said of an object and what it gains."""
    rhos = baseline("training_objects")["spearman"].values()
    return f"{min(rhos):.1f} to {max(rhos):.1f}"


def texture() -> str:
    found = baseline("training_objects")["texture"]
    own, plain = (f"{found[name]:+.2f}" for name in ("textured", "plain"))
    return f"{own} with their texture, {plain} in plain grey, {signed(found['difference'])}"


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def signed(found: dict[str, Any], digits: int = 1) -> str:
    """Return a difference and its interval."""
    ci95 = found.get("ci95") or found.get("ci95_views")
    ends = "" if ci95 is None else f" [{ci95[0]:+.{digits}f}, {ci95[1]:+.{digits}f}]"
    return f"{found['value']:+.{digits}f}{ends}"


def render(text: str) -> str:
    """Return the text with every {{ call }} replaced; it is this repository's own file."""
    return re.sub(r"\{\{(.+?)\}\}", lambda call: str(eval(call[1].strip(), globals())), text)  # noqa: S307


if __name__ == "__main__":
    PAGE.write_text(render(TEXT.read_text()))
    print(f"wrote {PAGE}")
