"""Draw the table of methods: gain against retention, and the curves over objects and steps.

    python benchmarks/method_figures.py baselines/method_deit_tiny.json --out docs/img

Writes method_tradeoff.png and method_curves.png.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from equiview.finetune.recipe_records import current_form, stage_of
from equiview.io import read_json

SMOOTHED = "blocks 4,6,8,10 + average"
COLOURS = {"one-step": "#ee7733", "default": "#0a84d0", "paper": "#888888"}
MARKERS = {"one-step": "s", "default": "D", "paper": "o"}
STRENGTHS = (0, 0.15, 0.3, 0.5, 0.75, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    args = parser.parse_args()
    mpl.use("Agg")
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    table = read_json(args.table)
    for name, draw in (("method_tradeoff", tradeoff), ("method_curves", curves)):
        figure = draw(table["rows"], table["protocol"])
        path = args.out / f"{name}.png"
        figure.savefig(path, dpi=130, bbox_inches="tight")
        print(f"wrote {path}")


def tradeoff(rows: Mapping[str, Any], protocol: Mapping[str, Any]):
    """PCK on PF-WILLOW against PCDP@0.05, both minus the same features without the object, by strength."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    axes.axhline(0, color="#bbbbbb", lw=0.8)
    axes.axvline(0, color="#bbbbbb", lw=0.8)
    axes.axvspan(-1, 0, color="#0a84d0", alpha=0.07, lw=0)
    for recipe in ("one-step", "default"):
        points = [
            (strength, *changes(rows[name], protocol["without_object"]))
            for strength in STRENGTHS[1:]
            if (name := row_at(protocol, recipe, strength)) in rows
        ]
        style = {"color": COLOURS[recipe], "marker": MARKERS[recipe]}
        axes.plot([0, *(p[1][0] for p in points)], [0, *(p[2][0] for p in points)], label=recipe, **style)
        for strength, x, y in points:
            axes.errorbar(x[0], y[0], xerr=x[1], yerr=y[1], color=COLOURS[recipe], lw=0.8, alpha=0.6)
            axes.annotate(f"{strength:g}", (x[0], y[0]), xytext=(4, 5), textcoords="offset points", fontsize=8)
    axes.set_xlabel("PF-WILLOW PCK@0.10, change in points (right: nothing lost)")
    axes.set_ylabel("PCDP@0.05 on test objects, change in points")
    axes.set_title(
        "Strength: what is gained and what it costs, against the same features without the object", fontsize=9
    )
    axes.legend(frameon=False)
    return figure


def strength_of(recipe: Mapping[str, Any]) -> float:
    """Return the strength of the last head that a recipe's record learns."""
    return next(stage["strength"] for stage in reversed(current_form(recipe)["stages"]) if "strength" in stage)


def row_at(protocol: Mapping[str, Any], recipe: str, strength: float) -> str:
    """Return the row of a recipe at a strength; at its own it has no suffix."""
    return recipe if strength_of(protocol["recipes"][recipe]) == strength else f"{recipe}, strength {strength:g}"


def changes(row: Mapping[str, Any], without: str) -> tuple[tuple[float, Any], tuple[float, Any]]:
    """Return (value, distances to the interval's ends) of PCK and PCDP minus the features without the object."""
    found = []
    for entry in (row["willow"]["difference_to"][without], row["difference_to"][without]["pcdp@0.05"]):
        low, high = entry["ci95"]
        found.append((entry["value"], [[entry["value"] - low], [high - entry["value"]]]))
    return found[0], found[1]


def curves(rows: Mapping[str, Any], protocol: Mapping[str, Any]):
    """PCDP@0.05 over the number of training objects and over steps, with the 95 % interval over test objects."""
    figure, panels = plt.subplots(1, 2, figsize=(9.2, 3.8), sharey=True)
    for axes, key, ticks in ((panels[0], "objects", (0, 1, 5, 10)), (panels[1], "steps", (0, 1, 10, 100, 1000))):
        for recipe in ("paper", "one-step", "default"):
            names = [curve_row(recipe, key, tick, protocol) for tick in ticks]
            draw_curve(axes, rows, recipe, key, names)
        axes.axhline(
            rows["last block"]["metrics"]["pcdp@0.05"]["value"], color="#009988", ls="-.", lw=1, label="last block"
        )
        axes.axhline(rows[SMOOTHED]["metrics"]["pcdp@0.05"]["value"], color="#ee3377", ls=":", lw=1, label=SMOOTHED)
        axes.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
        axes.set_xlabel({"objects": "training objects", "steps": "steps of training (one object)"}[key])
    panels[0].set_ylabel("PCDP@0.05, percent")
    panels[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_curve(axes, rows: Mapping[str, Any], recipe: str, key: str, names: Sequence[str]) -> None:
    points = [(place, rows[name]["metrics"]["pcdp@0.05"]) for place, name in enumerate(names) if name in rows]
    if not points:
        return
    x, values = [p for p, _ in points], [m["value"] for _, m in points]
    low, high = zip(*(m["ci95"] for _, m in points), strict=True)
    if key == "steps" and recipe == "one-step":
        axes.axhline(values[-1], color=COLOURS[recipe], lw=1.2, label="one-step (one step of all pairs)")
        return
    axes.plot(x, values, color=COLOURS[recipe], marker=MARKERS[recipe], label=recipe)
    axes.fill_between(x, low, high, color=COLOURS[recipe], alpha=0.12, lw=0)


def curve_row(recipe: str, key: str, tick: int, protocol: Mapping[str, Any]) -> str:
    """Return the row of a point: nothing learned at 0, the recipe itself where it is the usual case."""
    start = {"paper": "last block + random conv"}.get(recipe, protocol["without_object"])
    if tick == 0:
        return "default, without the object" if (recipe, key) == ("default", "objects") else start
    if key == "objects":
        usual = {"paper": "paper, 100 steps"}.get(recipe, recipe)
        return usual if tick == 1 else f"{recipe}, {tick} objects"
    training = stage_of(protocol["recipes"][recipe], "head_training")
    if recipe == "one-step" or (training is not None and tick == training["steps"]):
        return recipe
    return f"{recipe}, {tick} step{'s' * (tick > 1)}"


if __name__ == "__main__":
    main()
