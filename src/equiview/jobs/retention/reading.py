"""What the numbers of a retention report say in plain words, and which strength they speak for."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ...records import RetentionReading
from .settings import HEADLINES

TRAINED_ON_CATEGORIES = (
    "No strength is recommended: the adapter was trained on instances of the same rendered categories, so transfer on "
    "them says nothing about other things. Give pairs of real pictures (--pairs pf-willow:FOLDER, or your own)."
)
Verdict = Literal["keeps", "unclear", "loses", "not measured"]
Entries = Sequence[Mapping[str, Any]]


def change(entry: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """Return the change of a task's headline score from strength 0; {"value": None} where there is none."""
    return entry["difference"][task].get(HEADLINES[task], {"value": None, "ci95": None, "n": 0})


def verdict(entry: Mapping[str, Any], tolerance: float) -> Verdict:
    """Say whether a strength keeps semantic transfer.

    "loses": the whole interval of the change lies below minus the tolerance. "keeps": the whole interval lies above it.
    "unclear": the interval holds it. Without an interval (few source pictures) the value decides, never for "loses".
    """
    loss = change(entry, "transfer")
    value, ci95 = loss["value"], loss["ci95"]
    if value is None:
        return "not measured"
    if ci95 is None:
        return "keeps" if value >= -tolerance else "unclear"
    return "loses" if ci95[1] < -tolerance else "keeps" if ci95[0] >= -tolerance else "unclear"


def recommended(entries: Entries, tolerance: float) -> float | None:
    """Return the largest strength whose mean loss of transfer is at most the tolerance; None without any score."""
    within = [
        entry["strength"]
        for entry in entries
        if (value := change(entry, "transfer")["value"]) is not None and value >= -tolerance
    ]
    return max(within, default=None)


def read_retention(entries: Entries, tolerance: float, trained_on_pairs: bool = False) -> RetentionReading:
    """Return the recommended strength, a verdict for each strength above 0, and the sentences that say so ("lead").

    Args:
        entries: One a strength, strength 0 first, each with metrics of every task and "difference".
        tolerance: Points of PCK@0.10.
        trained_on_pairs: The adapter was trained on pairs like those transfer was measured on: nothing is recommended.
    """
    best = None if trained_on_pairs else recommended(entries, tolerance)
    verdicts: dict[str, Verdict] = {
        f"{entry['strength']:g}": "not measured" if trained_on_pairs else verdict(entry, tolerance)
        for entry in entries
        if entry["strength"] > 0
    }
    return {
        "recommended": best,
        "tolerance": tolerance,
        "allowed": allowed(tolerance),
        "verdicts": verdicts,
        "lead": [
            *([TRAINED_ON_CATEGORIES] if trained_on_pairs else _first(entries, best, tolerance)),
            *_losses(verdicts, tolerance),
            *_others(entries, best),
        ],
    }


def points(difference: Mapping[str, Any]) -> str:
    """Write a change with its interval."""
    if difference["value"] is None:
        return "not measured"
    interval = "" if difference["ci95"] is None else ", 95 % interval {:+.1f} to {:+.1f}".format(*difference["ci95"])
    return f"{difference['value']:+.1f}{interval}"


def allowed(tolerance: float) -> str:
    """Write the points that may be lost."""
    return f"{tolerance:g} point{'' if tolerance == 1 else 's'}"


def _named(entries: Entries, strength: float) -> Mapping[str, Any]:
    return next(entry for entry in entries if entry["strength"] == strength)


def _first(entries: Entries, best: float | None, tolerance: float) -> list[str]:
    if best is None:
        return ["No pair of pictures could be scored, so there is no strength to recommend."]
    full = entries[-1]
    if best == 0:
        return [
            f"Recommended strength 0: every other one loses more than {allowed(tolerance)} of semantic transfer. At "
            f"strength {full['strength']:g} PCK@0.10 changes by {points(change(full, 'transfer'))}, PCDP@0.05 by "
            f"{points(change(full, 'equivariance'))}."
        ]
    entry = _named(entries, best)
    lost, gained = change(entry, "transfer"), change(entry, "equivariance")
    sentences = [
        f"Recommended strength {best:g}: the largest that loses at most {allowed(tolerance)} of semantic transfer "
        f"(PCK@0.10 {points(lost)}); multiview equivariance changes by {points(gained)} (PCDP@0.05)."
    ]
    if lost["ci95"] is None:
        sentences.append(
            f"With {lost['n']} source pictures (fewer than 5) no interval is given: take it as an indication."
        )
    elif lost["ci95"][0] < -tolerance:
        sentences.append(
            f"That interval goes below {-tolerance:g}: a larger loss is not excluded by {lost['n']} pictures."
        )
    ci95 = gained["ci95"]
    if ci95 is not None and ci95[0] <= 0 <= ci95[1]:
        sentences.append("The interval of the equivariance reaches zero: no gain is shown at this strength.")
    return sentences


def _losses(verdicts: Mapping[str, Verdict], tolerance: float) -> list[str]:
    groups = {kind: [name for name, own in verdicts.items() if own == kind] for kind in ("loses", "unclear")}
    words = {
        "loses": "More than {} of transfer lost, the whole interval included, at strength {}.",
        "unclear": "Whether more than {} of transfer is lost is not shown (the interval holds both) at strength {}.",
    }
    return [words[kind].format(allowed(tolerance), _listed(names)) for kind, names in groups.items() if names]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _others(entries: Entries, best: float | None) -> list[str]:
    chosen = dict.fromkeys([best or entries[-1]["strength"], entries[-1]["strength"]])
    tracks = [f"{points(change(_named(entries, one), 'tracking'))} at strength {one:g}" for one in chosen]
    drifts = [f"{_drift(_named(entries, one)['drift'])} at strength {one:g}" for one in chosen]
    return [
        f"Tracking (average Jaccard): {'; '.join(tracks)}.",
        f"Drift on unlabeled images: {'; '.join(drifts)}.",
    ]


def _drift(drift: Mapping[str, Any]) -> str:
    cosine, cka, near, chance = (drift[name]["value"] for name in ("cosine", "cka", "neighbours", "chance"))
    parts = [] if cosine is None else [f"cosine {cosine:.2f}"]
    parts += [] if cka is None else [f"CKA {cka:.2f}"]
    return ", ".join([*parts, f"{100 * near:.0f} % of nearest neighbours stay (chance {100 * chance:.1f} %)"])
