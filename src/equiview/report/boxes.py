"""What pages of every kind are put together from: the result on top, and tables. The templates lay them out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import numbers
from .words import Verdict


@dataclass(frozen=True)
class Lead:
    """What stands first on a page.

    Attributes:
        verdict: How the box is coloured.
        label: The verdict in two or three words.
        sentences: The result, a paragraph each.
        notes: What must be read before any number, in a box of their own; none without.
        large: So many of the first sentences are set larger.
    """

    verdict: Verdict
    label: str
    sentences: Sequence[str]
    notes: Sequence[str] = ()
    large: int = 1


@dataclass(frozen=True)
class Cell:
    """A cell of a table; "\\n" breaks the line.

    Attributes:
        text: What it says.
        small: Lines below it, smaller; empty ones are left out.
        style: Classes of the style sheet.
        bold: Whether the text is.
        swatch: A colour shown before the text.
    """

    text: str
    small: Sequence[str] = ()
    style: str = ""
    bold: bool = False
    swatch: str = ""


@dataclass(frozen=True)
class Row:
    """A row: its name, its cells (none for a row that is a heading), and classes of the style sheet."""

    name: Cell
    cells: Sequence[Cell] = ()
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table that scrolls sideways where it is too wide.

    Attributes:
        caption: For those who cannot see it.
        columns: Titles, the first one of the names; "\\n" breaks the line.
        rows: The rows.
        words: Columns that hold text, by title.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    words: Sequence[str] = ()


def number_cell(
    value: float | None,
    small: Iterable[str] = (),
    *,
    digits: int = 2,
    sign: bool = False,
    style: str = "",
    bold: bool = False,
) -> Cell:
    """Return a cell with a number (or a dash), true minus signs in it and below it."""
    text = numbers.signed(value, digits) if sign else numbers.number(value, digits)
    return Cell(numbers.typeset(text), [numbers.typeset(line) for line in small], style, bold)
