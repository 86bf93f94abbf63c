"""The record of a study (`study.json`)."""

from typing import NotRequired, TypedDict

from .protocols import Settings


class Statistic(TypedDict):
    """Keys: value: a correlation (-1 to 1); ci95: families drawn whole; ci95_points: points drawn as if independent."""

    value: float | None
    ci95: list[float | None] | None
    ci95_points: list[float | None] | None


class BetweenFamilies(TypedDict):
    """Correlation of the families' means. Keys: n: families; pearson; spearman; p: of Spearman's, by shuffling."""

    n: int
    pearson: float | None
    spearman: float | None
    p: float | None


class WithinFamilies(TypedDict):
    """Keys: n_points, n_families: with several points; p: of the partial Spearman, by shuffling within families."""

    n_points: int
    n_families: int
    p: float | None


class LeftOut(TypedDict):
    """A statistic with one family left out.

    Keys:
        low, high: Its range.
        without_low, without_high: The families left out there.
        flips: Families without which the sign turns.
        n: Families that could be left out.
    """

    low: float | None
    high: float | None
    without_low: str
    without_high: str
    flips: list[str]
    n: int


class Relation(TypedDict):
    """How two scores of a study relate.

    Keys:
        x, y: The scores.
        turned: Scores of which less is better; their sign was changed.
        n: Points that have both.
        n_families: Families of these points.
        families: Points by family.
        missing: {"x", "y"}: points without that score.
        few: Why there is no interval, or "".
        pearson, spearman, partial_pearson, partial_spearman: The correlations.
        between_families, within_families: What the families say.
        leave_one_family_out: By statistic; None where it is not defined.
        units: {"x", "y"}: objects that are drawn too, or None.
        verdict, words: What the relation says (added by `study`).
    """

    x: str
    y: str
    turned: list[str]
    n: int
    n_families: int
    families: dict[str, int]
    missing: dict[str, int]
    few: str
    pearson: Statistic
    spearman: Statistic
    partial_pearson: Statistic
    partial_spearman: Statistic
    between_families: BetweenFamilies
    within_families: WithinFamilies
    leave_one_family_out: dict[str, LeftOut | None]
    units: dict[str, int | None]
    verdict: NotRequired[str]
    words: NotRequired[list[str]]


class StudyRecord(TypedDict):
    """The content of `study.json`.

    Keys:
        points: How many there are.
        families: Points by family.
        sources: Where the points came from.
        notes: What a reader must know.
        lead: The sentences on top of the page.
        protocol: How the numbers are made, in words.
        skipped: Pairs of scores with fewer than three points.
        relations: One for each pair of scores.
    """

    points: int
    families: dict[str, int]
    sources: list[str]
    notes: list[str]
    lead: list[str]
    protocol: Settings
    skipped: list[str]
    relations: list[Relation]
