"""Score every candidate of `equiview choose` on scanned objects it never saw: how far is its pick from the best one?

EQUIVIEW_SHARED=... python benchmarks/choose.py runs/choice/choice.json --backbone B --out baselines/choose_B.json
"""

import argparse
import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _protocol import rounded, shared, split

from equiview.data.meshes import open_object
from equiview.errors import bad_input
from equiview.io import read_json, write_json
from equiview.jobs.choose import HEADS, candidate_heads
from equiview.jobs.scoring import WorkItem, all_rows, finish_items, rows_path
from equiview.metrics.choice import GOALS, rank, unit_scores
from equiview.metrics.equivariance import object_values
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.tasks.choosing import block_maps, candidates, score_views
from equiview.tasks.equivariance import MeasureConfig, plan_object

SETS = {"dev": "scanned", "more_dev": "more"}
POINTS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("choice", type=Path, help="choice.json of equiview choose")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--name", help="of the backbone, for the table; its own if left out")
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--objects", type=int, help="so many of each set; all if left out; 0 keeps the choice alone")
    parser.add_argument("--work", type=Path, default=Path("runs/choose"), help="views and rows are kept here")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    choice = read_json(args.choice)
    long_side = choice["protocol"]["features"]["long_side"]
    source = Extractor(load_backbone(args.backbone), FeatureConfig(long_side=long_side)).eval()
    if source.backbone.info.weights_sha256 != choice["backbone"]["weights_sha256"]:
        raise bad_input(str(args.choice), "the choice of this backbone", "that of other weights", "Choose again.")
    names = [(name, folder) for key, folder in SETS.items() for name in split(key)[: args.objects]]
    folder = args.work / f"{source.backbone.info.weights_sha256[:12]}-{long_side}-{args.views}"
    items = [
        WorkItem(rows_path(folder, name), partial(object_rows, source, name, kind, args.views, args.work))
        for name, kind in names
    ]
    finish_items(items, lambda done, total: logging.info("%d of %d", done, total))
    found = table(choice, source.backbone.info.blocks, all_rows(items)) if items else chosen(choice)
    setting = {"objects": [name for name, _ in names], "views": args.views, "points": POINTS, "long_side": long_side}
    write_json(args.out, rounded({"backbone": args.name or choice["backbone"]["id"]} | found | {"held_out": setting}))
    print(json.dumps(rounded(found.get("regret")), indent=1))


def object_rows(source: Extractor, name: str, kind: str, views: int, work: Path) -> list[dict[str, Any]]:
    mesh = shared() / "data" / "objects" / kind / f"{name}.glb"
    seen = open_object(mesh, n_views=views, seed=0, cache_dir=work / "views")
    plan = plan_object(name, list(seen), MeasureConfig(points=POINTS))
    heads = candidate_heads(source)
    with torch.no_grad():
        return score_views(plan, block_maps(source, plan.views), candidates(source.backbone.info.blocks, HEADS), heads)


def table(choice: dict[str, Any], blocks: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what was chosen, what is best here, and the points between them."""
    ways = candidates(blocks, HEADS)
    cost = {way.name: (len(way.blocks), HEADS.index(way.head)) for way in ways}
    by_way: dict[str, list[dict[str, Any]]] = {way.name: [] for way in ways}
    for row in rows:
        by_way[row["variant"]].append(row)
    usual = {n: float(np.mean(list(object_values(own, "pcdp@0.05").values()))) for n, own in by_way.items()}
    ranked = {goal: rank(unit_scores(rows, GOALS[goal]), cost, GOALS[goal]) for goal in ("matching", "position")}
    regret: dict[str, Any] = {}
    for goal, own in ranked.items():
        pick = choice["picks"][goal]
        of_pick = own["candidates"][pick]
        regret[goal] = {"pick": pick, "value": of_pick["value"], "best": own["best"]}
        regret[goal] |= {"best_value": own["candidates"][own["best"]]["value"], "to_best": of_pick["to_best"]}
        regret[goal] |= {"rank": 1 + sum(one["value"] > of_pick["value"] for one in own["candidates"].values())}
    pick, best = choice["picks"]["matching"], max(usual, key=lambda n: usual[n])
    regret["mean over all pairs"] = {"pick": pick, "value": usual[pick], "best": best, "best_value": usual[best]}
    here = {
        name: {goal: own["candidates"][name]["value"] for goal, own in ranked.items()} | {"all_pairs": usual[name]}
        for name in usual
    }
    kept = chosen(choice)
    both = {name: kept["candidates"][name] | {"held_out": own} for name, own in here.items()}
    return {"regret": regret} | kept | {"candidates": both}


def chosen(choice: dict[str, Any]) -> dict[str, Any]:
    """Return what a choice says, without intervals of its own."""
    scores = {
        f"{','.join(map(str, e['blocks']))} {e['head']}": {
            "chosen_on": {goal: e[goal]["value"] for goal in GOALS if goal in e}
            | {"within_noise": e["matching"]["within_noise"]}
        }
        for e in choice["candidates"]
    }
    kept = ("blocks", "head", "long_side", "goal", "best", "picks", "protocol")
    preset = {key: choice[key] for key in kept} | {"weights_sha256": choice["backbone"]["weights_sha256"]}
    # The path of a folder says nothing to anybody else.
    features = choice["protocol"]["features"] | {"backbone": choice["backbone"]["id"]}
    preset["protocol"] = choice["protocol"] | {"features": features}
    return {"choice": preset, "candidates": scores}


if __name__ == "__main__":
    main()
