"""What the measured tables share: objects, views, features of test objects kept on disk, summaries with intervals."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from equiview.data.meshes import open_object
from equiview.data.names import is_made
from equiview.finetune.closed_form import ClosedFormConfig
from equiview.finetune.recipes import WIENER
from equiview.finetune.stages.add_head import AddHead
from equiview.io import read_json, read_jsonl
from equiview.jobs.scoring import rows_path, write_rows
from equiview.models.adapters.folder import versions
from equiview.models.extractor import Extractor, FeatureConfig, split_blocks
from equiview.tasks.comparison import paired_difference
from equiview.tasks.equivariance import MeasureConfig, ObjectPlan, plan_object, score_object, summarize
from equiview.types import FeatureMap

# The recipe one-step of 0.2.0, which some tables were made with.
ONE_STEP_020 = replace(WIENER, name="one-step", stages=(AddHead(head="average"), ClosedFormConfig()))
VIEWS = 12
MEASURE = MeasureConfig(points=300)


def shared() -> Path:
    """Return the folder EQUIVIEW_SHARED names."""
    folder = Path(os.environ.get("EQUIVIEW_SHARED", ""))
    if not (folder / "data" / "objects" / "split.json").is_file():
        raise SystemExit("Set EQUIVIEW_SHARED to the folder that holds data/objects/split.json.")
    return folder


def split(name: str) -> list[str]:
    """Return the names of the objects in `train`, `dev` or `test`."""
    return json.loads((shared() / "data" / "objects" / "split.json").read_text())[name]


def mesh_path(name: str) -> str:
    """Return a scanned object's file, of either set."""
    folders = [shared() / "data" / "objects" / folder for folder in ("scanned", "more")]
    return str(next(path for folder in folders if (path := folder / f"{name}.glb").is_file()))


def source_of(name: str) -> str:
    """Return what `open_object` takes: a scanned object's mesh, or the name of an object made at run time as it is."""
    return name if is_made(name) else mesh_path(name)


def views_of(name: str, work: Path):
    return open_object(source_of(name), n_views=VIEWS, seed=0, cache_dir=work / "views")


def plans(names: Iterable[str], work: Path) -> dict[str, ObjectPlan]:
    return {name: plan_object(name, list(views_of(name, work)), MEASURE) for name in names}


class Rows:
    """Rows of one variant, scored once and kept in WORK/rows/VARIANT/OBJECT.jsonl (so an interrupted run goes on)."""

    def __init__(self, work: Path, plans: dict[str, ObjectPlan]) -> None:
        self.work, self.plans, self.table = work, plans, {}

    def score(self, variant: str, maps: Callable[[ObjectPlan], Sequence[FeatureMap]]) -> None:
        rows = []
        for name, plan in self.plans.items():
            path = rows_path(self.work / "scored" / variant.replace("/", "-"), name)
            if not path.exists():
                with torch.no_grad():
                    write_rows(path, score_object(plan, list(maps(plan)), MEASURE))
            rows += read_jsonl(path)
        self.table[variant] = rows
        value = summarize(rows, {})["metrics"]["pcdp@0.05"]["value"]
        print(f"{variant:60s} pcdp@0.05 {value:6.2f}", flush=True)

    def done(self, variant: str) -> bool:
        folder = self.work / "scored" / variant.replace("/", "-")
        return all(rows_path(folder, name).exists() for name in self.plans)

    def merged(self, variants: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows of several seeds together; averaging happens within an object."""
        return [row for variant in variants for row in self.table[variant]]


def all_block_maps(backbone, plan: ObjectPlan, work: Path) -> list[FeatureMap]:
    """Return every block's L2-normalised tokens, concatenated, float16, from disk when they were computed before."""
    path = work / "features" / f"{backbone.info.weights_sha256[:12]}-{plan.name}.pt"
    source = Extractor(backbone, FeatureConfig(blocks=tuple(range(1, backbone.info.blocks + 1))))
    if path.exists():
        tokens = torch.load(path, weights_only=True)
        hw = plan.views[0].camera.hw
        return [FeatureMap(one, *source.geometry(hw), hw) for one in tokens]
    maps = [one.replace_tokens(one.tokens.half()) for one in source.maps(plan.views)]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torch.stack([one.tokens for one in maps]), path)
    return maps


def pick_blocks(maps: Sequence[FeatureMap], blocks: Sequence[int], dim: int) -> list[FeatureMap]:
    """Return some blocks (from 1) of concatenated maps, float32."""
    picked = []
    for one in maps:
        parts = split_blocks(one, one.tokens.shape[0] // dim)
        picked.append(one.replace_tokens(torch.cat([parts[b - 1].tokens for b in blocks]).float()))
    return picked


def entry(rows: Sequence[dict[str, Any]], controls: dict[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Return a row of a baseline file: scores in three searches, and paired differences to the named controls."""
    result = {"metrics": summarize(rows, {})["metrics"]}
    for search in ("in_mask", "unambiguous"):
        result[search] = summarize(rows, {}, search)["metrics"]
    result["difference_to"] = {
        name: {
            metric: paired_difference(own, rows, metric)
            | {
                "by_angle": {
                    bin_: paired_difference(own, rows, metric, None, edges)
                    for bin_, edges in (("0-45", (0, 45)), ("45-90", (45, 90)), ("90-180", (90, 180)))
                }
            }
            for metric in ("ape", "pcdp@0.05")
        }
        for name, own in controls.items()
    }
    return result


def made_with(backbone) -> dict[str, Any]:
    """Return which weights and which versions of libraries made a file, without the machine's paths."""
    info = backbone.info
    return {"backbone": Path(info.id).name, "weights_sha256": info.weights_sha256, "versions": versions()}


def protocol(backbone, **more: Any) -> dict[str, Any]:
    return (
        made_with(backbone)
        | {
            "objects": split("test"),
            "views": f"{VIEWS} of the paper's 42, seeded permutation 0",
            "points": MEASURE.points,
            "long_side": 640,
            "localisation": "token + parabola in 3x3",
            "search": "whole target image",
            "background": "black",
            "light": "camera",
        }
        | more
    )


def short(found: Mapping[str, Any], keys: Sequence[str] = ("value", "ci95")) -> dict[str, Any]:
    """Return the named parts of a difference."""
    return {key: found[key] for key in keys}


def rounded(value: Any) -> Any:
    """Round numbers for a file that people read."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def with_kept(found: Mapping[str, Any], names: Iterable[str], out: Path) -> dict[str, Any]:
    """Return the rows found, and those of a table written before that were not asked for now, in the order of names."""
    kept = read_json(out)["rows"] if out.exists() else {}
    return {name: (found if name in found else kept)[name] for name in names if name in found or name in kept}
