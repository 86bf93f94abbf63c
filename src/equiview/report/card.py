"""What a finished run adds to the model card of its adapter: scores against controls, the protocol, a picture."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..data.names import source_name
from ..metrics.equivariance import METRIC_NAMES
from ..metrics.paired import lower_is_better
from ..model_card import PICTURE_FILE, HeldOutScore
from ..records import Metric
from .numbers import TITLES, best_of, interval, number
from .run import LABELS, Run
from .words import objects_words, summarize_run

NOT_MEASURED = "## Scores\n\nNone: what this adapter is worth was not measured when it was pushed."


def held_out_scores(run: Run) -> list[HeldOutScore]:
    """Return the scores of the adapted features; none of a metric that has no value."""
    metrics = run.variants["adapted"]["metrics"]
    return [
        HeldOutScore(name, TITLES[name], entry["value"], ends(entry), entry["n"])
        for name in METRIC_NAMES
        if (entry := metrics[name])["value"] is not None
    ]


def ends(entry: Metric) -> tuple[float, float] | None:
    """Return both ends of an interval; None where there is none."""
    ci95 = entry["ci95"]
    return None if ci95 is None else (ci95[0], ci95[1])


def test_set(run: Run) -> str:
    """Return what the run was scored on, in words."""
    return f"{objects_words(run, len(run.objects()))}: {', '.join(run.objects())}"


def run_sections(run: Run, picture_of: str | None) -> list[str]:
    """Return the parts of a card that only a run can fill, as Markdown.

    Args:
        run: Of `improve`.
        picture_of: The object whose matches are drawn in `PICTURE_FILE`; None without a picture.
    """
    words = summarize_run(run)
    notes = [f"Note: {note}" for note in run.notes]
    said = plain(" ".join([f"{words.label}.", *words.sentences, *notes]))
    scores = f"## Scores\n\n{said}\n\n{_table(run)}\n\n{_about_table(run)}"
    picture = [] if picture_of is None else [_picture(picture_of)]
    return [scores, *picture, _protocol(run)]


def plain(text: str) -> str:
    """Return text from outside as Markdown that shows it as it is, in one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _table(run: Run) -> str:
    titles = [f"{TITLES[m]} {'(lower is better)' if lower_is_better(m) else ''}".strip() for m in METRIC_NAMES]
    best = {m: best_of({v: s["metrics"][m]["value"] for v, s in run.variants.items()}, m) for m in METRIC_NAMES}
    rows = [["features", *titles], ["---", *["---:"] * len(titles)]]
    for variant, summary in run.variants.items():
        cells = [_cell(summary["metrics"][m], variant in best[m]) for m in METRIC_NAMES]
        rows.append([plain(LABELS.get(variant, variant)), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(entry: Metric, is_best: bool) -> str:
    value = number(entry["value"])
    shown = f"**{value}**" if is_best else value
    return shown if entry["ci95"] is None else f"{shown} ({interval(entry['ci95'])})"


def _about_table(run: Run) -> str:
    protocol = run.protocol
    controls = "All other rows are controls on the same pairs of views; the best of a column is bold."
    means = [f"{key}: {protocol[key]}" for key in ("units", "averages", "ci95") if protocol.get(key)]  # type: ignore[literal-required]
    return f"In percent, 95 % intervals in brackets. {controls} {plain('; '.join(means))}."


def _picture(name: str) -> str:
    caption = (
        f"The same points of {plain(name)} found in another view by the pretrained features (above) and the adapted "
        "ones (below): green within 5 % of the edge, red farther away. It is the object of the median gain."
    )
    return f"## A look\n\n![Matches before and after adaptation]({PICTURE_FILE})\n\n{caption}"


def _protocol(run: Run) -> str:
    asked, features = run.settings, run.protocol.get("features", {})
    lines = {
        "recipe": run.recipe,
        "trained on": _names(asked.get("train_objects", ())),
        "scored on": _names(asked.get("test_objects", ())),
        "views of each object": asked.get("views"),
        "blocks": _joined(features.get("blocks", ())),
        "head": _joined(part.get("kind", "") for part in features.get("head", ())) or "none",
        "long side": _px(features.get("long_side")),
        "stride": _px(features.get("stride")),
        "weights of the backbone": _hash(features.get("weights_sha256")),
        **{name: run.protocol.get("measure", {}).get(name) for name in ("points", "localisation", "search", "seed")},
        "versions": _joined(f"{name} {found}" for name, found in run.protocol.get("versions", {}).items()),
    }
    said = [f"- {name}: {plain(str(value))}" for name, value in lines.items() if value not in (None, "")]
    return "\n".join(["## Protocol", "", *said])


def _names(sources: Iterable[Any]) -> str:
    return _joined(source_name(str(source)) for source in sources)


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def _px(value: Any) -> str | None:
    return None if value is None else f"{value} px"


def _hash(value: Any) -> str | None:
    return None if value is None else f"sha256 {value}"


def median_picture(gains: Mapping[str, float]) -> str | None:
    """Return the object in the middle of the order of gains: no selection; None when there is none."""
    ordered = sorted(gains, key=lambda name: (gains[name], name))
    return ordered[(len(ordered) - 1) // 2] if ordered else None
