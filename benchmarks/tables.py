"""Print the tables of docs/measurements.md and README.md from the committed baselines; docs/science.md: science.py.

python benchmarks/tables.py baselines/recipes_deit_tiny.json
python benchmarks/tables.py baselines/blocks_deit_tiny.json
python benchmarks/tables.py baselines/method_deit_tiny.json
python benchmarks/tables.py baselines/method_costs.json
python benchmarks/tables.py baselines/method_deit_tiny.json baselines/method_costs.json    # both in one table
"""

import json
import sys
from pathlib import Path

BINS = ("0-45", "45-90", "90-180")


def number(value, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def row(name: str, entry: dict, search: str) -> str:
    metrics = entry["metrics"] if search == "image" else entry[search]
    pcdp = metrics["pcdp@0.05"]
    cells = [number(metrics[m]["value"]) for m in ("ape", "pcdp@0.05", "pcdp@0.1", "pcdp@0.2")]
    return f"| {name} | {' | '.join(cells + [number(pcdp['by_angle'][b]['value']) for b in BINS])} |"


def scores(rows: dict, search: str) -> list[str]:
    head = [
        "| features | APE | PCDP@.05 | @.1 | @.2 | @.05 at 0-45 deg | 45-90 | 90-180 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return head + [row(name, entry, search) for name, entry in rows.items()]


def differences(rows: dict, names: list[str]) -> list[str]:
    """Return PCDP@0.05 of some rows minus that of each of their controls, with intervals, overall and by angle."""
    lines = ["| row | minus | PCDP@.05 | objects better | 0-45 | 45-90 | 90-180 |", "|---|---|---|---|---|---|---|"]
    for name in names:
        for control, by_metric in rows[name]["difference_to"].items():
            d = by_metric["pcdp@0.05"]
            bins = " | ".join(interval(d["by_angle"][b]) for b in BINS)
            lines.append(f"| {name} | {control} | {interval(d)} | {d['n_improved']} of {d['n']} | {bins} |")
    return lines


def interval(d: dict) -> str:
    if d["value"] is None:
        return "-"
    ends = "" if d["ci95"] is None else f" [{d['ci95'][0]:+.2f}, {d['ci95'][1]:+.2f}]"
    return f"{d['value']:+.2f}{ends}"


def methods(rows: dict, without: str, costs: dict | None = None) -> list[str]:
    """Return the table of methods: both measurements, and their differences to the features without the object.

    With the rows of method_costs.json, every line ends in what it cost.
    """
    lines = [
        "| features | n | PCDP@.05 | 0-45 deg | 45-90 | 90-180 | APE | minus nothing learned | PF-WILLOW | minus |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    if costs is not None:
        lines = [lines[0] + " CPU s | peak GB |", lines[1] + "---|---|"]
    for name, entry in rows.items():
        metrics, willow = entry["metrics"], entry["willow"]
        pcdp = metrics["pcdp@0.05"]
        cells = [number(pcdp["value"]), *(number(pcdp["by_angle"][b]["value"], 1) for b in BINS)]
        cells.append(number(metrics["ape"]["value"]))
        against = entry["difference_to"].get(without)
        cells.append("" if against is None else interval(against["pcdp@0.05"]))
        cells.append(number(willow["pck@0.10"], 1))
        cells.append("" if against is None else interval(willow["difference_to"][without]))
        if costs is not None:
            cells += cost_cells(name, costs)
        lines.append(f"| {name} | {entry['repetitions']} | {' | '.join(cells)} |")
    return lines


def cost_cells(name: str, costs: dict) -> list[str]:
    """Return CPU seconds and peak GB of a row; strength changes neither, and what needs no adapting costs nothing."""
    if name.startswith(("last block", "block ", "blocks ")):
        return ["0", "0"]
    found = costs.get(name.partition(", strength")[0])
    return ["not measured"] * 2 if found is None else [number(found["cpu_s"], 0), number(found["peak_gb"])]


def cost(found: dict) -> list[str]:
    """Return the tables of method_costs.json: the ways of adapting, and the features of one picture."""
    lines = ["| from meshes to a saved adapter | CPU s | wall s | peak GB |", "|---|---|---|---|"]
    for name, way in found["rows"].items():
        lines.append(f"| {name} | {number(way['cpu_s'], 0)} | {number(way['wall_s'], 0)} | {number(way['peak_gb'])} |")
    one = found["extraction"]
    lines += ["", f"| features of one picture (peak {number(one['peak_gb'])} GB) | CPU s | wall s |", "|---|---|---|"]
    for name, own in one["rows"].items():
        lines.append(f"| {name} | {number(own['cpu_s'])} | {number(own['wall_s'])} |")
    return lines


def main() -> None:
    first, *more = (json.loads(Path(path).read_text()) for path in sys.argv[1:])
    rows = first.get("rows", {})
    if not rows or not ("extraction" in first or all("metrics" in entry for entry in rows.values())):
        raise SystemExit(
            "Give rows of blocks.py, recipes.py, method.py or method_costs.py; science.py shows the others."
        )
    if "extraction" in first:
        print("\n".join(cost(first)))
        return
    if all("willow" in entry for entry in rows.values()):
        print("\n".join(methods(rows, first["protocol"]["without_object"], more[0]["rows"] if more else None)))
    for search in ("image", "in_mask", "unambiguous"):
        print(f"\nsearch: {search}\n")
        print("\n".join(scores(rows, search)))
    compared = [name for name, entry in rows.items() if entry.get("difference_to") and not name.startswith("blocks 4")]
    print("\n" + "\n".join(differences(rows, compared)))


if __name__ == "__main__":
    main()
