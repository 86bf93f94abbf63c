"""Adapt on a real capture and on rendered objects, and score each on the other kind: does it carry over?

    EQUIVIEW_SHARED=... python benchmarks/captures.py --backbone FOLDER --work W \
        --out baselines/captures_one_step_deit_tiny.json
    EQUIVIEW_SHARED=... python benchmarks/captures.py --backbone FOLDER --work W --recipe lora-and-head \
        --only 'fox to fox' --out baselines/captures_lora_and_head_deit_tiny.json
    EQUIVIEW_SHARED=... python benchmarks/captures.py --backbone FOLDER --work W --recipe one-step-0.2.0 \
        --out baselines/captures_deit_tiny.json

Four experiments with one recipe, three repetitions each (seed s; where one trains on a rendered object, the s-th of
three), their rows averaged within an object:

- fox to fox: adapted on every second photo of the fox, scored on the others (cameras given, points by COLMAP);
- fox to fox, photos alone: the same with cameras recovered by COLMAP;
- fox to rendered: adapted on every second photo, scored on the 8 rendered test objects;
- rendered to fox: adapted on one rendered object, scored on the other half of the photos.

The gain is given over the pretrained features, over the best control, and over the same features without the object
(`vs_without_object`: everything of the adapter that learned nothing; where that is the 3x3 average, or nothing at all,
`improve` has it as the control `fixed_average` or `pretrained`).

Intervals: over objects where there are several; over source views where there is one capture, which says nothing about
other captures. Nothing was chosen on these data.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from _method import SEEDS, TRAIN_OBJECTS
from _protocol import ONE_STEP_020, mesh_path, rounded, shared, split

from equiview.data.captures.opening import open_capture
from equiview.data.sfm import CaptureConfig, capture_from_pictures, capture_with_poses
from equiview.finetune.recipe import Recipe
from equiview.finetune.recipes import RECIPES
from equiview.finetune.stages.add_head import AddHead
from equiview.io import read_json, read_jsonl, write_json
from equiview.jobs.improve import ImproveConfig, improve
from equiview.metrics.equivariance import METRIC_NAMES
from equiview.tasks.comparison import improvement_summary, paired_difference

ALONE = "fox to fox, photos alone"
EXPERIMENTS = ("fox to fox", ALONE, "fox to rendered", "rendered to fox")
KNOWN = {**RECIPES, "one-step-0.2.0": ONE_STEP_020}


def experiments(fox: str, recovered: str) -> dict[str, list[tuple[list[str], list[str]]]]:
    """Return, by name, what each repetition trains and tests on."""
    test = [mesh_path(name) for name in split("test")]
    sides = (
        [([f"{fox}@0::2"], [f"{fox}@1::2"])] * len(SEEDS),
        [([f"{recovered}@0::2"], [f"{recovered}@1::2"])] * len(SEEDS),
        [([f"{fox}@0::2"], test)] * len(SEEDS),
        [([mesh_path(TRAIN_OBJECTS[seed])], [f"{fox}@1::2"]) for seed in SEEDS],
    )
    return dict(zip(EXPERIMENTS, sides, strict=True))


def run(backbone: str, work: Path, recipe_name: str, views: int, only: Sequence[str]) -> dict[str, Any]:
    """Carry out experiments; finished ones are read."""
    fox, config = shared() / "data" / "captures" / "ngp_fox", CaptureConfig(long_side=1024)
    given, recovered = work / "fox", work / "fox_recovered"
    recipe = replace(KNOWN[recipe_name], name=recipe_name, time_budget_s=None)
    print("points and cameras ...", flush=True)
    capture_with_poses(open_capture(fox), fox, given, config, lambda stage, done, total: None)
    if ALONE in only:
        capture_from_pictures(fox, recovered, config, lambda stage, done, total: None)
    results, known = {}, experiments(str(given), str(recovered))
    for name, repetitions in ((name, known[name]) for name in only):
        rows: list[dict[str, Any]] = []
        for seed, (train, test) in zip(SEEDS, repetitions, strict=True):
            out = work / recipe_name / name.replace(",", "").replace(" ", "-") / str(seed)
            improve(backbone, train, test, out, ImproveConfig(recipe, views=views, seed=seed))
            rows += read_jsonl(out / "rows.jsonl")
            protocol = read_json(out / "summary.json")["protocol"]
        results[name] = summarized(rows, recipe) | {"pairs_scored": len(rows), "test_objects": len(repetitions[0][1])}
        show(name, results[name])
    keep = {
        key: protocol[key] for key in ("features", "measure", "units", "averages", "ci95", "ci95_views", "versions")
    }
    about = {"recipe": asdict(recipe), "views": views, "seeds": SEEDS, "train_objects": TRAIN_OBJECTS}
    return {"experiments": results, "protocol": keep | about}


def summarized(rows: Sequence[Mapping[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """Return an experiment's scores, with the differences to before, to the best control and without the object."""
    summary = improvement_summary(rows, {})
    without = {"average": "fixed_average"}.get(recipe.stage(AddHead).head, "pretrained")
    without = "without_object" if any(row["variant"] == "without_object" for row in rows) else without
    control, adapted = ([row for row in rows if row["variant"] == name] for name in (without, "adapted"))
    for metric in METRIC_NAMES:
        against = {"control": without} | paired_difference(control, adapted, metric)
        summary["difference"][metric]["vs_without_object"] = against
    summary.pop("protocol")
    return summary


def show(name: str, result: Mapping[str, Any]) -> None:
    change = result["difference"]["pcdp@0.05"]
    line = f"{name:26s} {result['before']['metrics']['pcdp@0.05']['value']:6.2f}"
    for entry in (change, change["vs_best_control"], change["vs_without_object"]):
        against = f" vs {entry['control']}" if "control" in entry else ""
        line += f"{against} {entry['value']:+6.2f} {entry['ci95'] or entry.get('ci95_views')}"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", choices=sorted(KNOWN), default="one-step")
    parser.add_argument("--only", nargs="*", choices=EXPERIMENTS, default=EXPERIMENTS, metavar="EXPERIMENT")
    parser.add_argument("--views", type=int, default=25)
    arguments = parser.parse_args()
    result = run(arguments.backbone, arguments.work, arguments.recipe, arguments.views, arguments.only)
    # No path of the machine stands in a committed file.
    result["protocol"]["features"]["backbone"] = Path(arguments.backbone).name
    write_json(arguments.out, rounded(result))
    print(f"Wrote {arguments.out}")


if __name__ == "__main__":
    main()
