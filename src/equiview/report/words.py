"""The result in plain words, including when there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from ..data.names import other_views, source_name
from ..metrics.equivariance import object_values
from ..metrics.paired import lower_is_better
from .numbers import TITLES, interval, number, signed
from .run import LABELS, Run

CLAIM = "pcdp@0.05"
TIE_POINTS = 0.5
Verdict = Literal["good", "unclear", "bad", "plain"]


@dataclass(frozen=True)
class Summary:
    """What the head of the page says.

    Attributes:
        verdict: How the head is coloured.
        label: The verdict in two or three words.
        sentences: The claim first, then what limits it.
    """

    verdict: Verdict
    label: str
    sentences: list[str]


def summarize_run(run: Run) -> Summary:
    """Say what a run shows, and no more than it shows."""
    if run.kind == "measure":
        return Summary("plain", "Measured", _measured(run))
    before, after = (run.variants[name]["metrics"][CLAIM] for name in ("pretrained", "adapted"))
    if before["value"] is None or after["value"] is None:
        return Summary("unclear", "Nothing measured", ["No pair of views could be scored, so there is no result."])
    change = run.difference.get(CLAIM)
    value = None if change is None else change["value"]
    value = after["value"] - before["value"] if value is None else value
    ci95 = None if change is None else change.get("ci95")
    digits = 1 if abs(value) >= 0.95 else 2
    verb = "rose" if value > 0 else "fell" if value < 0 else "stayed, going"
    first = (
        f"On {objects_words(run, after['n'])}, {TITLES[CLAIM]} {verb} from {number(before['value'], digits)} "
        f"to {number(after['value'], digits)} ({signed(value, digits)}{_interval_words(ci95, digits)})"
    )
    control_verdict, control_words = _against_controls(run, digits)
    sentences = [f"{first}, above every control." if control_verdict == "good" else f"{first}."]
    if ci95 is not None and ci95[0] <= 0 <= ci95[1]:
        sentences.append("The interval reaches zero: this run does not show a change.")
    if ci95 is None:
        noun = "object" if after["n"] == 1 else "objects"
        sentences.append(f"With {after['n']} {noun} (fewer than 5) no interval is given: take it as an indication.")
    ci95_views = None if change is None else change.get("ci95_views")
    sentences += _over_views(ci95_views, digits, "of the change ")
    sentences += [control_words] if control_words else []
    sentences += _improved_objects(run) + _by_angle(run) + _ape(run)
    verdict, label = _verdict(value, ci95, control_verdict)
    if verdict == "good" and (_trained_on(run) or _other_views(run)):
        label = "Better, but partly on objects it was trained on"
    return Summary(verdict, label, sentences)


def _verdict(value: float, ci95: list[float] | None, control: Verdict) -> tuple[Verdict, str]:
    if value < 0 and (ci95 is None or ci95[1] < 0):
        return "bad", "Worse than before"
    if control == "bad":
        return "bad", "A control is better"
    if ci95 is None:
        return "unclear", "Too few objects to tell"
    if ci95[0] <= 0:
        return "unclear", "No change shown"
    if control == "unclear":
        return "unclear", "Not clear of the controls"
    return "good", "Better on unseen objects"


def objects_words(run: Run, n: int) -> str:
    """Say what `n` measured objects were to the training."""
    seen = _trained_on(run)
    noun = "object" if n == 1 else "objects"
    others = _other_views(run)
    if len(others) == n:
        return f"other views of {n} {noun} it was trained on"
    if others:
        return f"{n} {noun}, {len(others)} of them other views of what it was trained on ({', '.join(others)})"
    if seen:
        return f"{n} {noun}, {len(seen)} of them also trained on ({', '.join(seen)})"
    return f"{n} {noun} never trained on"


def _trained_on(run: Run) -> list[str]:
    """Return the measured objects that were trained on as well."""
    trained = {source_name(str(source)) for source in run.settings.get("train_objects", [])}
    return sorted(trained & set(run.objects()))


def _other_views(run: Run) -> list[str]:
    """Return the measured objects that are other views of a capture that was trained on."""
    train, test = (list(map(str, run.settings.get(f"{side}_objects", []))) for side in ("train", "test"))
    return sorted({source_name(one) for one in other_views(train, test)} & set(run.objects()))


def _interval_words(ci95: list[float] | None, digits: int) -> str:
    return f", 95 % interval {interval(ci95, digits, sign=True)}" if ci95 is not None else ""


def _best_control(run: Run, metric: str = CLAIM) -> tuple[str, float] | None:
    """Return the strongest control and its value."""
    known = {
        name: value
        for name, part in run.variants.items()
        if name not in ("adapted", "measured") and (value := part["metrics"][metric]["value"]) is not None
    }
    if not known:
        return None
    name = (min if lower_is_better(metric) else max)(known, key=lambda n: known[n])
    return name, known[name]


def _against_controls(run: Run, digits: int) -> tuple[Verdict, str]:
    best = _best_control(run)
    after = run.variants["adapted"]["metrics"][CLAIM]["value"]
    if best is None or after is None or len(run.variants) < 3:
        return "unclear", "No controls were measured, so this run cannot say what the training itself is worth."
    name, value = best
    what = LABELS.get(name, name).lower()
    against = run.difference[CLAIM].get("vs_best_control") if CLAIM in run.difference else None
    gap = None if against is None else against["value"]
    gap = after - value if gap is None else gap
    ci95 = None if against is None else against.get("ci95")
    told = f"{number(value, digits)} ({signed(gap, digits)} for the adapter{_interval_words(ci95, digits)})"
    if ci95 is not None and ci95[0] <= 0 <= ci95[1]:
        return "unclear", f"The best control, {what}, reaches {told}; that interval reaches zero."
    if gap < 0:
        return "bad", f"A control does better: the {what}, which saw no object, reaches {told}."
    return "unclear" if gap == 0 else "good", f"The best control, {what}, reaches {told}."


def _improved_objects(run: Run) -> list[str]:
    changes = [row["difference"] for row in object_table(run, CLAIM) if row["difference"] is not None]
    if len(changes) < 2:
        return []
    return [f"Better on {sum(c > 0 for c in changes)} of {len(changes)} objects."]


def _by_angle(run: Run) -> list[str]:
    by_angle = run.difference[CLAIM].get("by_angle", {}) if CLAIM in run.difference else {}
    changes = {angles: part for angles, part in by_angle.items() if part["value"] is not None}
    if not changes:
        return []
    words = ", ".join(f"{signed(part['value'], 1)} at {angles}" for angles, part in changes.items())
    worse = [angles for angles, part in changes.items() if _is_worse(part)]
    end = f" It is worse at {' and '.join(worse)} degrees." if worse else ""
    return [f"By angle between the views: {words} degrees.{end}"]


def _is_worse(part: Mapping[str, Any]) -> bool:
    """Say whether a loss is real: more than half a point, and an interval (if any) that stays below zero."""
    ci95 = part.get("ci95")
    return part["value"] < -TIE_POINTS and (ci95 is None or ci95[1] < 0)


def _ape(run: Run) -> list[str]:
    before, after = (run.variants[name]["metrics"]["ape"]["value"] for name in ("pretrained", "adapted"))
    if before is None or after is None:
        return []
    return [f"The mean error (APE, lower is better) went from {number(before)} to {number(after)} %."]


def _measured(run: Run) -> list[str]:
    metrics = run.variants["measured"]["metrics"]
    claim, ape = metrics[CLAIM], metrics["ape"]
    if claim["value"] is None:
        return ["No pair of views could be scored, so there is no result."]
    noun = "object" if claim["n"] == 1 else "objects"
    first = (
        f"On {claim['n']} {noun}, {number(claim['value'], 1)} % of the points are found within 5 % of the image "
        f"edge ({TITLES[CLAIM]}"
    )
    first += f"; 95 % interval {interval(claim['ci95'], 1)})." if claim["ci95"] else ")."
    second = f"The mean error (APE, lower is better) is {number(ape['value'], 1)} % of the image edge."
    few = [] if claim["ci95"] else [f"With {claim['n']} {noun} (fewer than 5) no interval is given."]
    return [first, second, *few, *_over_views(claim.get("ci95_views"), 1)]


def _over_views(ci95: list[float] | None, digits: int, what: str = "") -> list[str]:
    """Say the interval within a single object, and what it is not."""
    if not ci95:
        return []
    words = interval(ci95, digits, sign=bool(what))
    return [f"Over the views of this one object the interval {what}is {words}; it says nothing about other objects."]


class ObjectScores(TypedDict):
    """Keys: object: name; pairs: scored pairs; values: score by variant; difference: adapted minus pretrained."""

    object: str
    pairs: int
    values: dict[str, float | None]
    difference: float | None


def object_table(run: Run, metric: str) -> list[ObjectScores]:
    """Return, for each object, its pairs, its score under every variant, and adapted minus pretrained."""
    scores = {name: object_values(rows, metric) for name, rows in run.rows.items()}
    table: list[ObjectScores] = []
    for name in run.objects():
        values = {variant: found.get(name) for variant, found in scores.items()}
        before = values.get("pretrained")
        after = values.get("adapted")
        pairs = sum(row["object"] == name for row in next(iter(run.rows.values())))
        change = None if before is None or after is None else after - before
        table.append({"object": name, "pairs": pairs, "values": values, "difference": change})
    return table
