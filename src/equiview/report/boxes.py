"""What pages of every kind are put together from: the box with the result, tables, parts that fold away."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from .html import Html, h, join, typeset
from .words import Verdict


def result_box(
    verdict: Verdict, label: str, sentences: Sequence[str], notes: Iterable[str] = (), *, leads: int = 1
) -> Html:
    """Return what stands first on a page: the result in a coloured box, and the notes to be read before any number.

    Args:
        verdict: How the box is coloured.
        label: The verdict in two or three words.
        sentences: The result, a paragraph each.
        notes: What limits it, in a box of their own; none without.
        leads: So many of the first sentences are set larger.
    """
    words = [h("p", typeset(line), class_="lead" if n < leads else None) for n, line in enumerate(sentences)]
    box = h("section", h("strong", label), *words, class_=f"verdict {verdict}", aria_label="Result")
    items = [h("li", typeset(note)) for note in notes]
    if not items:
        return box
    title = h("b", "Please note")
    return join(box, h("section", title, h("ul", *items), class_="notes", role="note", aria_label="Notes"))


def scroll_table(caption: str, header: Sequence[Html], body: Sequence[Html]) -> Html:
    """Lay out a table that scrolls sideways where it is too wide."""
    table = h("table", h("thead", *header), h("tbody", *body), aria_label=caption)
    return h("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)


def broken(title: str) -> Html:
    """Break a column's title at "|", so that the table stays narrow."""
    first, *rest = title.split("|")
    return join(first, *(part for line in rest for part in (h("br"), line)))


def fold(title: str, *children: Html, is_open: bool = False, hint: str = "") -> Html:
    """Put parts under a title that folds them away."""
    extra = h("span", f" {hint}") if hint else None
    return h("details", h("summary", title, extra), *children, open=is_open)


def pretty(value: Any) -> Html:
    """Show JSON as it is."""
    return h("pre", json.dumps(value, indent=2, ensure_ascii=False), tabindex=0)
