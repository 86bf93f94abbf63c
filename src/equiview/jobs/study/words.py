"""What a relation says in plain words, and what it does not say."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

# From this size on a correlation is worth a word at all; below it goes as "hardly any".
SLIGHT, MODERATE, STRONG = 0.1, 0.4, 0.7
# A partial correlation that lost so much of the overall one says: mostly a matter of families.
LOST = 0.5
Verdict = Literal["together", "opposed", "between families", "reversed", "fragile", "not shown", "too few", "undefined"]
LABELS: dict[str, str] = {
    "together": "Go together",
    "opposed": "Go against each other",
    "between families": "Mostly between families",
    "reversed": "Reversed within families",
    "fragile": "Hangs on one family",
    "not shown": "No relation shown",
    "too few": "Too few to tell",
    "undefined": "Nothing varies",
}


def verdict(relation: Mapping[str, Any]) -> Verdict:
    """Return the one thing a reader must know first.

    In this order: nothing varies; too few points or families; the interval of Spearman's correlation reaches zero;
    within families the sign is the other one (clearly: its interval, or without one its shuffle test); the sign turns
    when one family is left out; within families less than half of it is left, and its interval reaches zero; else the
    scores go together, or against each other.
    """
    whole, within = relation["spearman"], relation["partial_spearman"]
    few = bool(relation["few"]) or whole["ci95"] is None
    left = relation["leave_one_family_out"]["spearman"]
    cases: dict[Verdict, bool] = {
        "undefined": whole["value"] is None,
        "reversed": whole["value"] is not None and _reversed(relation),
        "too few": few,
        "not shown": not few and whole["ci95"][0] <= 0 <= whole["ci95"][1],
        "fragile": left is not None and bool(left["flips"]),
        "between families": whole["value"] is not None
        and within["value"] is not None
        and _lost(whole["value"], within),
    }
    first = next((name for name, holds in cases.items() if holds), None)
    return first or ("together" if whole["value"] > 0 else "opposed")


def _reversed(relation: Mapping[str, Any]) -> bool:
    whole, within = relation["spearman"]["value"], relation["partial_spearman"]["value"]
    if within is None or whole * within >= 0 or min(abs(whole), abs(within)) < SLIGHT:
        return False
    ci95, p = relation["partial_spearman"]["ci95"], relation["within_families"]["p"]
    return ci95[1] < 0 or ci95[0] > 0 if ci95 is not None else p is not None and p < 0.05


def _lost(whole: float, within: Mapping[str, Any]) -> bool:
    weaker = within["value"] * whole <= 0 or abs(within["value"]) < LOST * abs(whole)
    unclear = within["ci95"] is None or within["ci95"][0] <= 0 <= within["ci95"][1]
    return weaker and unclear


def read(relation: Mapping[str, Any]) -> list[str]:
    """Return the reading of a relation: the claim first, then what limits it."""
    if relation["spearman"]["value"] is None:
        return [f"{relation['few'].capitalize()}, so there is nothing to relate."]
    sentences = [_first(relation), *_within(relation), *_left_out(relation), *_shape(relation)]
    turned = relation["turned"]
    if turned:
        less = "less of both is" if len(turned) == 2 else f"less {turned[0]} is"
        sentences.append(f"Signs are turned where {less} better: a positive number means better with better.")
    missing = relation["missing"]
    if any(missing.values()):
        parts = [f"{count} without {relation[key]}" for key, count in missing.items() if count]
        sentences.append(f"Left out: {' and '.join(parts)}.")
    return sentences


def _first(relation: Mapping[str, Any]) -> str:
    value, ci95 = relation["spearman"]["value"], relation["spearman"]["ci95"]
    over = f"over {_count(relation['n'], 'point')} of {_count(relation['n_families'], 'family', 'families')}"
    rank = f"Spearman {value:+.2f}"
    if relation["few"]:
        own = relation["spearman"]["ci95_points"]
        seen = f" On these very families it is {_range(own)} (points drawn alone)." if own else ""
        end = f"({relation['few']}): no interval is given, and it says nothing about other backbones."
        return f"{rank} {over} {end}{seen}"
    if ci95 is None:
        return f"{rank} {over}; too many draws are undefined for an interval."
    within = f"(95 % interval {_range(ci95)}) {over}"
    if ci95[0] <= 0 <= ci95[1]:
        return f"{rank} {within}: the interval reaches zero, so no relation is shown."
    how = "better goes with better" if value > 0 else "better goes with worse"
    return f"{_strength(value)} relation, {how}: {rank} {within}."


def _strength(value: float) -> str:
    size = abs(value)
    if size >= STRONG:
        return "A strong"
    return "A moderate" if size >= MODERATE else "A weak"


def _within(relation: Mapping[str, Any]) -> list[str]:
    part, about = relation["partial_spearman"], relation["within_families"]
    if part["value"] is None:
        return [f"Too few families have several points ({about['n_families']}) to look within families."]
    whole = relation["spearman"]["value"]
    interval = f"{_range(part['ci95'])}; " if part["ci95"] else ""
    numbers = f"{part['value']:+.2f} ({interval}shuffled within families p = {about['p']:.2g})"
    there = f"{about['n_points']} points in {_count(about['n_families'], 'family', 'families')}"
    if _reversed(relation):
        return [
            f"Within families it is the other way round: {numbers}, {there}. The whole misleads (Simpson's paradox)."
        ]
    if _lost(whole, part):
        return [f"Within families little of it is left: {numbers}, {there}. It is mostly one family against another."]
    return [f"Within families it is {numbers}, {there}."]


def _left_out(relation: Mapping[str, Any]) -> list[str]:
    part = relation["leave_one_family_out"]["spearman"]
    if part is None:
        return ["There is only one family, so nothing can be said about others."] if relation["n_families"] < 2 else []
    if part["flips"]:
        return [f"The sign turns without {_listed(part['flips'])}: everything hangs on it."]
    low, high = (f"{part[key]:+.2f} without {part[f'without_{key}']}" for key in ("low", "high"))
    return [f"Leaving one family out it stays between {low} and {high}."]


def _shape(relation: Mapping[str, Any]) -> list[str]:
    """Say when the numbers and their ranks disagree: a bend, or a few points far away."""
    line, rank = relation["pearson"]["value"], relation["spearman"]["value"]
    if line is None or abs(line - rank) < 0.2:
        return []
    return [f"Pearson is {line:+.2f}: a bend, or a few points far from the rest. Look at the figure."]


def lead(relations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the whole study says, a line for each verdict, the clear ones first."""
    lines = []
    for name, label in LABELS.items():
        own = [one for one in relations if one["verdict"] == name]
        if own:
            reasons = sorted({one["few"] for one in own if one["few"]}, key=len)
            why = f", {reasons[0]}" if reasons else ""
            lines.append(f"{label} ({len(own)} of {len(relations)}{why}): {_grouped(own)}.")
    return lines


def _grouped(relations: Sequence[Mapping[str, Any]], most: int = 8) -> str:
    """Name the relations by the score they share, the first few of them."""
    parts: dict[str, list[str]] = {}
    for one in relations[:most]:
        parts.setdefault(one["x"], []).append(f"{one['y']}{_value(one)}")
    more = f"; and {len(relations) - most} more" if len(relations) > most else ""
    return "; ".join(f"{x} with {', '.join(others)}" for x, others in parts.items()) + more


def cautions(relations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what must be known beside all of it."""
    lines = ["A correlation over backbones does not say that raising one score raises the other."]
    intervals = sum(one["spearman"]["ci95"] is not None for one in relations)
    if intervals >= 20:
        lines.append(f"Of {intervals} intervals about {intervals / 20:.0f} would leave zero out by chance alone.")
    return lines


def _value(relation: Mapping[str, Any]) -> str:
    value = relation["spearman"]["value"]
    return "" if value is None else f" ({value:+.2f})"


def _range(ci95: Sequence[float]) -> str:
    return f"{ci95[0]:+.2f} to {ci95[1]:+.2f}"


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
