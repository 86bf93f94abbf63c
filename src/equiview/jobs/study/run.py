"""Which scores are related, and the record of a study."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from ...errors import bad_input
from ...records import Relation, Settings, StudyRecord
from .points import PointSet
from .relations import MIN_FAMILIES, MIN_POINTS, MIN_WITHIN_INTERVAL, relate
from .statistics import DRAWS
from .words import cautions, lead, read, verdict

# What is asked where nothing else was: equivariance against one score of every task.
DEFAULT_X = ("ape", "pcdp@0.05", "navi/recall@0.02m")
DEFAULT_Y = (
    *("pose_recall@5cm5deg", "pose_recall@10deg", "average_recall", "pose/acc@30deg"),
    *("delta_avg", "share_under_8px", "pck@0.10", "soco/soc", "semseg/miou", "depth/si_delta1", "snorm/delta1"),
    *("det3d/ap3d", "knn/top-1_(k=20)"),
)
Progress = Callable[[str, int, int], None]


def study(
    points: PointSet,
    x: Sequence[str] = (),
    y: Sequence[str] = (),
    *,
    cluster: str = "family",
    seed: int = 0,
    progress: Progress | None = None,
) -> StudyRecord:
    """Relate every score of `x` with every score of `y`.

    Args:
        points: The points.
        x: Scores, or patterns, see `choose`; empty takes the equivariance scores there are.
        y: The same; empty takes one score of every task.
        cluster: What is drawn as a whole: `family`, or a tag.
        seed: Of the draws.
        progress: Called with ("study", done, total).

    Returns:
        {"points", "families": {family: points}, "sources", "notes", "lead" (lines), "protocol", "relations": [what
        `relate` returns, with "verdict" and "words"]}.

    Raises:
        EquiviewError: No score fits, no pair of scores has three points in common, or a point lacks the tag.
    """
    names = points.names()
    firsts = choose(names, x or DEFAULT_X, "--x", quiet=not x)
    seconds = choose(names, y or DEFAULT_Y, "--y", quiet=not y)
    pairs = [(a, b) for a in firsts for b in seconds if a != b]
    common = {pair: _common(points, *pair) for pair in pairs}
    kept = [pair for pair in pairs if common[pair] >= 3]
    if not kept:
        found = ", ".join(f"{a} and {b}: {n}" for (a, b), n in list(common.items())[:3]) or "no pair of scores"
        fix = "Give results of the same features, or choose other scores with --x and --y."
        raise bad_input("study", "three points that have both scores", found, fix)
    relations: list[Relation] = []
    for number, pair in enumerate(kept):
        relation = relate(points, *pair, cluster=cluster, seed=seed)
        relations.append({**relation, "verdict": verdict(relation), "words": read(relation)})
        if progress is not None:
            progress("study", number + 1, len(kept))
    groups = points.groups(cluster)
    return {
        "points": len(points.points),
        "families": {name: groups.count(name) for name in dict.fromkeys(groups)},
        "sources": list(points.sources),
        "notes": [*points.notes, *cautions(relations)],
        "lead": lead(relations),
        "protocol": protocol(cluster, seed) | ({"points": dict(points.protocol)} if points.protocol else {}),
        "skipped": [f"{a} and {b}: {n} points have both" for (a, b), n in common.items() if n < 3],
        "relations": relations,
    }


def _common(points: PointSet, x: str, y: str) -> int:
    return sum(x in point.scores and y in point.scores for point in points.points)


def protocol(cluster: str, seed: int) -> Settings:
    """Return how the numbers of a study are made."""
    return {
        "direction": "scores of which less is better change their sign: positive is better with better",
        "partial": "each point minus the mean of its family (a regression on family dummies); Spearman's on ranks",
        "ci95": f"percentile bootstrap, {DRAWS} draws: families drawn whole, then points within each, then objects "
        f"where all points have the same five or more; none under {MIN_POINTS} points or {MIN_FAMILIES} families; a "
        f"partial one needs {MIN_WITHIN_INTERVAL} differences in {MIN_FAMILIES} families with several points",
        "ci95_points": "the same with points drawn as if independent: about these very families only",
        "p": f"two-sided, {DRAWS} shuffles: of the family means (between), within every family (within)",
        "missing": "a relation uses the points that have both scores; the others are counted",
        "cluster": cluster,
        "seed": seed,
    }


def choose(names: Sequence[str], wanted: Sequence[str], option: str, *, quiet: bool = False) -> list[str]:
    """Return the scores that were asked for, in order and once.

    Args:
        names: All there are.
        wanted: Each the whole name of a score, some whole parts of it (`ape`, `pf-pascal`, `pose/middlebury`), or a
            pattern with `*`. A whole name wins over parts.
        option: Its name, for messages.
        quiet: What fits nothing is passed over, as long as something fits.

    Raises:
        EquiviewError: One fits no score.
    """
    found: list[str] = []
    for one in wanted:
        fitting = [name for name in names if name == one] or [name for name in names if _fits(name, one)]
        if not fitting and not quiet:
            raise bad_input(f"{option} {one}", "a score of these results", _listed(names), "Choose one of them.")
        found += fitting
    if not found:
        fix = f"Choose with {option}: whole names, parts of them, or patterns with *."
        raise bad_input(option, f"one of the usual scores ({', '.join(wanted[:4])} ...)", _listed(names), fix)
    return list(dict.fromkeys(found))


def _fits(name: str, wanted: str) -> bool:
    return f"/{wanted}/" in f"/{name}/" or fnmatchcase(name, wanted)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:30]) or "no score at all"
    return shown if len(names) <= 30 else f"{shown} and {len(names) - 30} more"
