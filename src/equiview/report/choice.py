"""What `choose` found: a table, a few sentences, and a picture of every block."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from ..io import atomic_path

HEADS = {
    "none": "plain",
    "average": "averaged",
    "whitened": "centred, whitened",
    "whitened_average": "centred, whitened, averaged",
    "low_rank_whitened": "centred, whitened",
    "low_rank_whitened_average": "centred, whitened, averaged",
    "debiased_whitened": "debiased, centred, whitened",
    "debiased_whitened_average": "debiased, centred, whitened, averaged",
}
"""In words. Files of before the low-rank forms name the exact ones."""
STYLES = {
    "none": ("#8a949e", "o"),
    "average": ("#0a84d0", "s"),
    "whitened": ("#ee7733", "^"),
    "whitened_average": ("#009988", "D"),
    "low_rank_whitened": ("#ee7733", "^"),
    "low_rank_whitened_average": ("#009988", "D"),
    "debiased_whitened": ("#aa3377", "v"),
    "debiased_whitened_average": ("#33507a", "P"),
}
"""Colour and marker."""
TITLES = {
    "matching": "matching, PCDP@0.05 (%)",
    "position": "position, PCDP@0.02 (%)",
    "transfer": "transfer, PCK@0.10 (%)",
}
ROWS = 12
Entry = Mapping[str, Any]


def name_of(entry: Entry) -> str:
    """Return a candidate in words: "10, 12 averaged"."""
    return f"{', '.join(map(str, entry['blocks']))} {HEADS.get(entry['head'], entry['head'])}"


def entry_named(choice: Entry, name: str) -> Entry:
    """Return a candidate by its name ("10,12 average")."""
    return next(e for e in choice["candidates"] if f"{','.join(map(str, e['blocks']))} {e['head']}" == name)


def choice_table(choice: Entry) -> Table:
    """Return the best candidates for the goal, and the last block as most people use it."""
    goal = choice["goal"]
    goals = [name for name in TITLES if name in choice["best"]]
    ordered = sorted(choice["candidates"], key=lambda e: -e[goal]["value"])
    last = [e for e in ordered if e["blocks"] == [choice["backbone"]["blocks"]] and e["head"] == "none"]
    shown = ordered[:ROWS] + [e for e in last if e not in ordered[:ROWS]]
    table = Table(title="Blocks and fixed head, percent", title_justify="left", title_style="bold")
    table.add_column("blocks")
    for name in goals:
        table.add_column(TITLES[name].removesuffix(" (%)"), justify="right", no_wrap=True)
    table.add_column("to the best", justify="right")
    for entry in shown:
        picked = entry["blocks"] == choice["blocks"] and entry["head"] == choice["head"]
        cells = [f"{entry[name]['value']:.1f}" for name in goals]
        table.add_row(name_of(entry), *cells, _to_best(entry[goal]), style="bold" if picked else None)
    return table


def _to_best(score: Entry) -> str:
    ci95 = score["to_best"]["ci95"]
    interval = "" if ci95 is None else f" \\[{ci95[0]:+.1f}, {ci95[1]:+.1f}]"
    return f"{score['to_best']['value']:+.1f}{interval}"


def choice_words(choice: Entry) -> str:
    """Say what was chosen, and how sure that is."""
    goal = choice["goal"]
    picked = entry_named(choice, choice["picks"][goal])
    value = picked[goal]["value"]
    lines = [f"Chosen for {goal}: blocks {name_of(picked)}, {value:.1f} %."]
    if choice["picks"][goal] != choice["best"][goal]:
        best = entry_named(choice, choice["best"][goal])
        lines.append(
            f"The best, {name_of(best)}, scores {best[goal]['value']:.1f} %: a tie, and the cheaper one is taken."
        )
    lines += [_noise_words(choice, goal), *_other_goals(choice, goal, picked)]
    return "\n".join(line for line in lines if line)


def _noise_words(choice: Entry, goal: str) -> str:
    within = [entry[goal]["within_noise"] for entry in choice["candidates"]]
    if None in within:
        return "Too few objects or views for intervals: take the order of close candidates as chance."
    others = sum(within) - 1
    if not others:
        return "Every other candidate is worse by more than chance."
    units = choice["candidates"][0][goal]["n"]
    return f"Within noise of the best (95 %, {units} units): {others} of {len(within) - 1} others."


def _other_goals(choice: Entry, goal: str, picked: Entry) -> list[str]:
    lines = []
    for name in choice["best"]:
        best = entry_named(choice, choice["best"][name])
        short = best[name]["value"] - picked[name]["value"]
        if name != goal and short > 0 and picked[name]["within_noise"] is False:
            lines.append(f"For {name}, blocks {name_of(best)} are better by {short:.1f} points: --for {name}.")
    return lines


def write_block_picture(choice: Entry, path: Path) -> None:
    """Draw every block with every head as curves, the sets of blocks as levels, a panel for each goal."""
    goals = [name for name in TITLES if name in choice["best"]]
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(4.4 * len(goals), 4.2), layout="constrained")
        for axes, goal in zip(figure.subplots(1, len(goals), squeeze=False)[0], goals, strict=True):
            _panel(axes, choice, goal)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        figure.suptitle(f"{choice['backbone']['id']}: which blocks?", x=0.01, ha="left")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110)


def _panel(axes: Axes, choice: Entry, goal: str) -> None:
    depth = choice["backbone"]["blocks"]
    for head in dict.fromkeys(entry["head"] for entry in choice["candidates"]):
        own: Sequence[Entry] = [e for e in choice["candidates"] if e["head"] == head and len(e["blocks"]) == 1]
        x, y = [e["blocks"][0] for e in own], [e[goal]["value"] for e in own]
        colour, marker = STYLES[head]
        axes.plot(x, y, color=colour, marker=marker, ms=4.5, lw=1.6, label=HEADS[head])
    sets: dict[tuple[int, ...], Entry] = {}
    for entry in choice["candidates"]:
        blocks = tuple(entry["blocks"])
        if len(blocks) > 1 and (blocks not in sets or entry[goal]["value"] > sets[blocks][goal]["value"]):
            sets[blocks] = entry
    axes.set_xticks([depth + 1.5 + n for n in range(len(sets))], [",".join(map(str, b)) for b in sets], minor=True)
    for number, entry in enumerate(sets.values()):
        colour, marker = STYLES[entry["head"]]
        axes.plot(depth + 1.5 + number, entry[goal]["value"], color=colour, marker=marker, ls="", ms=6)
    step = max(1, depth // 12)
    axes.set_xticks(range(step, depth + 1, step))
    axes.tick_params(axis="x", which="minor", rotation=90)
    picked = entry_named(choice, choice["picks"][goal])
    axes.axhline(picked[goal]["value"], color="#cc3311", lw=1, ls=":", label="taken")
    axes.set_title(f"{TITLES[goal]}\n{name_of(picked)}", fontsize=10, loc="left")
    axes.set_xlabel("single block, then sets with their best head")
    axes.grid(alpha=0.15)
    axes.set_ylim(bottom=0)
