"""Studies of made-up points whose story is known: what is found, what is said, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from equiview.errors import EquiviewError
from equiview.jobs.study.omniprobe import family_of, plain_name
from equiview.jobs.study.points import PointSet, StudyPoint, merge, only, read_points, write_points
from equiview.jobs.study.readers import read_results
from equiview.jobs.study.relations import relate
from equiview.jobs.study.run import choose, study
from equiview.jobs.study.words import read, verdict


def points_of(x, y, families, names=("ape", "pck")) -> PointSet:
    """Points with two scores; the first is an error, so it is stored with its sign changed."""
    made = [
        StudyPoint(f"p{i}", str(f), {names[0]: -float(a), names[1]: float(b)})
        for i, (a, b, f) in enumerate(zip(x, y, families, strict=True))
    ]
    return PointSet(tuple(made))


def told(points: PointSet, **options) -> dict:
    relation = relate(points, "ape", "pck", **options)
    return relation | {"verdict": verdict(relation), "words": " ".join(read(relation))}


def simpson(families: int = 6, each: int = 5) -> PointSet:
    """Families climb together; within each of them the scores go against each other."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(families), each)
    step = np.tile(np.linspace(-1, 1, each), families)
    x, y = 5 * group + step, 5 * group - step
    return points_of(x + rng.normal(0, 0.05, len(x)), y + rng.normal(0, 0.05, len(x)), group)


def test_simpsons_paradox_is_seen_and_said() -> None:
    found = told(simpson())
    assert found["spearman"]["value"] > 0.8 and found["partial_pearson"]["value"] < -0.9
    assert found["verdict"] == "reversed" and "Simpson" in found["words"]
    assert found["within_families"]["p"] < 0.01 and found["between_families"]["spearman"] == 1


def test_a_relation_between_families_only() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(8), 5)
    found = told(points_of(4 * group + rng.normal(size=40), 4 * group + rng.normal(size=40), group))
    assert found["spearman"]["ci95"][0] > 0.5 and found["verdict"] == "between families"
    assert "Within families little of it is left" in found["words"]


def test_a_plain_relation_and_the_direction_of_errors() -> None:
    rng = np.random.default_rng(4)
    x, group = rng.normal(size=40), np.arange(40) // 4
    found = told(points_of(x, x + 0.3 * rng.normal(size=40), group))
    assert found["verdict"] == "together" and found["turned"] == ["ape"]
    assert "A strong relation, better goes with better" in found["words"] and "less ape is better" in found["words"]
    against = told(points_of(x, -x + 0.3 * rng.normal(size=40), group))
    assert against["verdict"] == "opposed" and "better goes with worse" in against["words"]
    none = told(points_of(x, rng.normal(size=40), group))
    assert none["verdict"] == "not shown" and "no relation is shown" in none["words"]


def test_a_relation_that_hangs_on_one_family() -> None:
    """Everything else goes down; six points far out make the whole go up."""
    down = np.arange(12.0)
    x = np.concatenate([down, 100 + np.arange(10.0)])
    y = np.concatenate([-0.2 * down, 100 + np.arange(10.0)])
    group = [*np.arange(12) // 2, *[9] * 10]
    found = told(points_of(x, y, group))
    assert found["leave_one_family_out"]["spearman"]["flips"] == ["9"]
    assert "The sign turns without 9" in found["words"]


@pytest.mark.parametrize(
    ("n", "families", "why"),
    [(9, 9, "9 points, fewer than 10"), (12, 4, "4 families, fewer than 5"), (12, 1, "1 family, fewer than 5")],
)
def test_too_few_get_no_interval(n: int, families: int, why: str) -> None:
    x = np.random.default_rng(0).permutation(n)
    found = told(points_of(x, x, np.arange(n) % families))
    assert found["verdict"] == "too few" and found["few"] == why and why in found["words"]
    assert found["spearman"] == {
        "value": 1.0,
        "ci95": None,
        "ci95_points": None if n < 10 else found["spearman"]["ci95_points"],
    }
    assert families > 1 or "only one family" in found["words"]


def test_missing_scores_are_counted_and_left_out() -> None:
    points = simpson()
    lacking = tuple(replace(p, scores={"ape": p.scores["ape"]}) if i < 3 else p for i, p in enumerate(points.points))
    found = told(replace(points, points=lacking))
    assert found["n"] == 27 and found["missing"] == {"x": 0, "y": 3}
    assert "Left out: 3 without pck" in found["words"]


def test_nothing_varies() -> None:
    found = told(points_of([1.0] * 12, range(12), range(12)))
    assert found["spearman"]["value"] is None and found["verdict"] == "undefined"
    assert "the same for all points" in found["words"].lower()


def test_objects_are_drawn_where_all_points_have_the_same() -> None:
    rng = np.random.default_rng(1)
    base = points_of(rng.normal(size=12), rng.normal(size=12), range(12))
    with_units = tuple(
        replace(p, units={"ape": {f"o{k}": p.scores["ape"] + e for k, e in enumerate(rng.normal(0, 2, 6))}})
        for p in base.points
    )
    found = told(replace(base, points=with_units))
    assert found["units"] == {"x": 6, "y": None}
    odd = (*with_units[:-1], replace(with_units[-1], units={}))
    assert told(replace(base, points=odd))["units"] == {"x": None, "y": None}


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert relate(simpson(), "ape", "pck", seed=3) == relate(simpson(), "ape", "pck", seed=3)


def test_points_go_to_a_file_and_back(tmp_path: Path) -> None:
    points = PointSet(
        (StudyPoint("a", "f", {"ape": 1.5}, {"state": "base"}, {"ape": {"mug": 1.0, "cup": 2.0}}),),
        frozenset({"rmse"}),
        ("here",),
        ("a note",),
        {"views": 6},
    )
    write_points(tmp_path / "p.json", points)
    assert read_points(tmp_path / "p.json") == points
    assert points.sign("rmse") == points.sign("ape") == -1 and points.sign("pck@0.10") == 1


def one(**changes) -> dict:
    return {"name": "a", "family": "f", "scores": {"ape": 1.0}} | changes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "study file"),
        ({"format": "other"}, "'other'"),
        ({"format": "equiview-study-points", "version": 9, "points": [one()]}, "version 1"),
        ({"format": "equiview-study-points", "version": 1, "points": []}, "list of points"),
        ({"format": "equiview-study-points", "version": 1, "points": [one()], "more": 1}, "unknown more"),
        ({"format": "equiview-study-points", "version": 1, "points": [one(), one(name=3)]}, "point 2: name"),
        ({"format": "equiview-study-points", "version": 1, "points": [one(scores={"ape": "x"})]}, "point 1: ape"),
        ({"format": "equiview-study-points", "version": 1, "points": [one(scores={"ape": True})]}, "finite number"),
        ({"format": "equiview-study-points", "version": 1, "points": [one(scores=None)]}, "point 1"),
        ({"format": "equiview-study-points", "version": 1, "points": [one(units=[1])]}, "point 1: units"),
        ({"format": "equiview-study-points", "version": 1, "points": [one(units={"ape": [1]})]}, "units: ape"),
        ({"format": "equiview-study-points", "version": 1, "points": [one(tags="new")]}, "point 1: tags"),
        ({"format": "equiview-study-points", "version": 1, "points": [one()], "notes": "text"}, "notes"),
        ({"format": "equiview-study-points", "version": 1, "points": [one()], "protocol": [1]}, "protocol"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, value, message: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps(value))
    with pytest.raises(EquiviewError, match=message):
        read_points(tmp_path / "p.json")


@pytest.mark.parametrize(
    "part", [{"metrics_meta": {"a": 1}, "results": {}}, {"metrics_meta": {}, "results": {"m": None}}]
)
def test_a_broken_board_is_told(tmp_path: Path, part) -> None:
    (tmp_path / "board.json").write_text(json.dumps({"tasks": {"t": part}}))
    with pytest.raises(EquiviewError, match="another file"):
        read_results([f"omniprobe:{tmp_path / 'board.json'}"])


def test_optional_parts_may_be_null(tmp_path: Path) -> None:
    empty = {"lower_is_better": None, "notes": None, "protocol": None}
    value = {"format": "equiview-study-points", "version": 1, "points": [one(units=None, tags=None)]} | empty
    (tmp_path / "p.json").write_text(json.dumps(value))
    points = read_points(tmp_path / "p.json")
    assert points.points[0].tags == {} and points.notes == () and points.protocol == {}


def test_nan_and_null_are_not_measured(tmp_path: Path) -> None:
    points = [one(scores={"ape": None, "pck": float("nan"), "x": 1})]
    value = {"format": "equiview-study-points", "version": 1, "points": points}
    (tmp_path / "p.json").write_text(json.dumps(value))
    assert read_points(tmp_path / "p.json").points[0].scores == {"x": 1.0}


def test_scores_are_chosen_by_name_part_or_pattern() -> None:
    names = ["ape", "objects/ape", "pose/set/recall@5", "pose/set/recall@10"]
    assert choose(names, ["ape"], "--x") == ["ape"]
    assert choose(names[1:], ["ape"], "--x") == ["objects/ape"]
    assert choose(names, ["pose/set", "*@10"], "--y") == names[2:]
    with pytest.raises(EquiviewError, match="--y depth"):
        choose(names, ["pose", "depth"], "--y")
    with pytest.raises(EquiviewError, match="usual scores"):
        choose(names, ["depth"], "--y", quiet=True)


def test_what_cannot_be_studied_is_told() -> None:
    points = simpson()
    apart = tuple(replace(p, scores={"ape": 1.0} if i % 2 else {"pck@0.10": 1.0}) for i, p in enumerate(points.points))
    with pytest.raises(EquiviewError, match="three points that have both"):
        study(replace(points, points=apart))
    with pytest.raises(EquiviewError, match="a tag of every point"):
        study(points, ["ape"], ["pck"], cluster="backbone")
    with pytest.raises(EquiviewError, match="p0"):
        merge([points, points])
    with pytest.raises(EquiviewError, match="these tags"):
        only(points, {"state": "base"})
    with pytest.raises(EquiviewError, match="paper"):
        read_results(["nothing-here"])


def test_the_papers_tables_say_what_is_known_of_them() -> None:
    """Spearman of APE and PCK@0.10: 0.83 over all ten rows and 1.00 over the five pretrained ones; four families."""
    points = read_results(["paper"])
    found = relate(points, "objaverse/ape", "pf-pascal/pck@0.10")
    assert found["spearman"]["value"] == pytest.approx(0.83, abs=0.005) and found["n_families"] == 4
    assert found["pearson"]["value"] == pytest.approx(0.70, abs=0.005)
    before = relate(only(points, {"state": "pretrained"}), "objaverse/ape", "pf-pascal/pck@0.10")
    assert before["spearman"]["value"] == 1 and before["pearson"]["value"] == pytest.approx(0.92, abs=0.005)
    assert before["spearman"]["ci95"] is None and verdict(before) == "too few"


def test_families_and_names_of_the_board() -> None:
    models = {"DIY-SC (DINOv2-B/14)": "DINOv2", "DINO-B/16": "DINO", "DINOv3-ConvNeXt-S": "DINOv3", "SAM-B": "SAM"}
    models |= {
        "MetaCLIP2-B/16": "CLIP",
        "CLIP-B/16 (OpenAI)": "CLIP",
        "iBOT-L/16 (IN22K)": "iBOT",
        "SD 2.1": "Stable Diffusion",
    }
    models |= {"DeiT3-L/16": "DeiT3", "Qwen2.5-VL-7B": "Qwen", "VGGT-1B": "VGGT", "CroCov2-B/16": "CroCo"}
    assert {name: family_of(name) for name in models} == models
    assert plain_name("tracking", "\u03b4_avg") == "tracking/delta_avg"
    assert plain_name("pose", "Acc@\u03c0/6 (%)") == "pose/acc@30deg"


@pytest.mark.shared
def test_the_board_gives_its_known_correlation(shared: Path) -> None:
    points = read_results([f"omniprobe:{shared / 'data' / 'leaderboards' / 'omniprobe_leaderboard.json'}"])
    found = relate(points, "navi/recall@0.02m", "tracking/delta_avg")
    assert len(points.points) == 61 and found["n"] == 25
    assert found["spearman"]["value"] == pytest.approx(0.87, abs=0.005)
    assert points.sign("depth/sa_rmse") == -1 and points.sign("depth/sa_delta1") == 1
