"""Pose on real photographs: features that find, and the same with a fine part that places.

    EQUIVIEW_SHARED=... python benchmarks/pose_real.py --backbone B --preset dinov2-class --work runs/preset --out OUT
    EQUIVIEW_SHARED=... python benchmarks/pose_real.py ... --sets chosen     what choices may be made on

Rows: the last block, the preset with nothing learned, and its recipe `default` with a rendered object of another kind;
the latter two with and without their fine part. Sets: Middlebury's dinosaur (posed pictures alone, half of them
references, in turn) and objects of LM-O (BOP; clutter, occlusion, whole pictures). WORK may be that of preset.py, whose
heads it shares; rows that are there are read.
"""

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _method import repetitions
from _protocol import made_with, rounded, shared
from preset import LAST, NOTHING, Bench
from torch import nn

from equiview.io import read_json, write_json
from equiview.jobs.pose import Layout, cut_to_detections, open_models, open_scenes, pose_config
from equiview.jobs.presets import read_preset
from equiview.jobs.scoring import resumed_rows, rows_path
from equiview.metrics.paired import difference
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import with_fine
from equiview.tasks.pose import samples
from equiview.types import FeatureMap

SETS = {
    "chosen": ("dinoSparseRing", "lmo 1", "lmo 6"),
    "reported": ("dino_hemisphere61", "lmo 8", "lmo 11"),
}
LIMITS_DEG = (2, 5, 10)
DEFAULT = "default"
FINE = ", fine part"
ROWS = (NOTHING, NOTHING + FINE, DEFAULT, DEFAULT + FINE)


class Stored:
    """Maps of several blocks kept by picture, and a head on some of them.

    Args:
        source: What computes the maps of all blocks.
        folder: Where they are kept.
        blocks: Of the head.
        head: On these, joined as the extractor joins them.
    """

    def __init__(self, source: Extractor, folder: Path, blocks: tuple[int, ...], head: nn.Module | None) -> None:
        self.source, self.folder, self.blocks, self.head = source, folder, blocks, head

    @torch.no_grad()
    def maps(self, pictures: Iterable[np.ndarray], *, batch_size: int = 1) -> Iterator[FeatureMap]:
        dim = self.source.backbone.info.dim
        for picture in pictures:
            fmap = self.source.feature_map(self._tokens(picture), picture.shape[:2])
            parts = [fmap.tokens[dim * i : dim * (i + 1)] for i in map(self.source.blocks.index, self.blocks)]
            tokens = parts[0] if len(parts) == 1 else torch.cat([nn.functional.normalize(one, dim=0) for one in parts])
            yield fmap.replace_tokens(tokens if self.head is None else self.head(tokens[None])[0])

    def _tokens(self, picture: np.ndarray) -> torch.Tensor:
        path = self.folder / f"{hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()[:24]}.pt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(next(self.source.maps([picture])).tokens.half(), path)
        return torch.load(path, weights_only=True).float()

    def describe(self) -> dict[str, Any]:
        return self.source.describe()


@dataclass(frozen=True)
class PoseSet:
    """A folder of one object."""

    folder: Path
    layout: Layout
    number: int
    every: int = 1

    def rows(self, source: Stored, kept: Path) -> list[dict[str, Any]]:
        """Locate the queries; of BOP cut to their boxes, and not turned, as its cameras stand upright."""
        scenes, box = open_scenes(self.folder, self.layout, self.number)
        if self.layout == "bop":
            scenes = cut_to_detections(scenes, self.boxes(kept.with_name("boxes.json")), self.number)
        scenes = [replace(scene, queries=scene.queries[:: self.every]) for scene in scenes]
        config = pose_config(box, any_roll=self.layout == "middlebury")
        models = open_models(self.folder, self.layout, self.number)
        return resumed_rows(kept, lambda start: samples(source, scenes, config, None, start, models=models))

    def boxes(self, path: Path) -> Path:
        """Write the true boxes of the object's visible part as detections."""
        found = []
        for scene in sorted((self.folder / "test").iterdir()):
            truth, about = (read_json(scene / name) for name in ("scene_gt.json", "scene_gt_info.json"))
            found += [
                {"scene_id": int(scene.name), "image_id": int(image), "category_id": self.number, "score": 1.0}
                | {"bbox": info["bbox_visib"]}
                for image, objects in truth.items()
                for one, info in zip(objects, about[image], strict=True)
                if one["obj_id"] == self.number
            ]
        write_json(path, found)
        return path


def pose_set(name: str, every: int) -> PoseSet:
    root = shared() / "data"
    if name.startswith("lmo"):
        return PoseSet(root / "pose" / "lmo", "bop", int(name.split()[1]), every)
    return PoseSet(root / "captures" / "middlebury" / name, "middlebury", 1, every)


def variants(bench: Bench, work: Path, wanted: Sequence[str]) -> dict[str, Stored]:
    """Return the features by name; heads are learned where they are wanted and not there."""
    rows = {row.name: row for row in bench.rows()}
    blocks = sorted({*rows[LAST].blocks, *rows[NOTHING].blocks, *rows[DEFAULT].blocks})
    source = Extractor(bench.features.backbone, FeatureConfig(blocks=tuple(blocks))).eval()
    folder = work / "pose" / "maps" / "-".join(map(str, blocks))
    found = {LAST: Stored(source, folder, rows[LAST].blocks, None)}
    for name in (NOTHING, DEFAULT):
        for label, change in ((name, lambda head: head), (name + FINE, with_fine)):
            if label in wanted:
                head = change(rows[name].head(repetitions()[0]))
                found[label] = Stored(source, folder, rows[name].blocks, head)
    return found


def values(rows: list[dict[str, Any]], limit: float) -> dict[str, float]:
    """Return 100 for each query that is located within so many degrees, else 0."""
    return {f"{row['query']}/{n}": 100.0 * (row.get("rotation_error_deg", 180.0) < limit) for n, row in enumerate(rows)}


def near(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return 100 for each query whose model points are within a tenth of the diameter on average, else 0."""
    return {
        f"{row['query']}/{n}": 100.0 * (row.get("add", np.inf) < 0.1 * row["diameter"]) for n, row in enumerate(rows)
    }


def summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return recalls and median of each variant, and what its recall within 5 degrees adds to the last block's."""
    lines = {}
    for name, rows in found.items():
        turns = [row.get("rotation_error_deg", 180.0) for row in rows]
        line: dict[str, Any] = {"n": len(rows), "median_deg": float(np.median(turns))}
        line |= {f"recall@{limit}deg": float(np.mean(list(values(rows, limit).values()))) for limit in LIMITS_DEG}
        if all("diameter" in row for row in rows):
            line["add@0.1d"] = float(np.mean(list(near(rows).values())))
        if name != LAST:
            line["minus last"] = difference(values(found[LAST], 5), values(rows, 5), "percent")
        lines[name] = line
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--sets", choices=SETS, default="reported")
    parser.add_argument("--only", nargs="*", metavar="SET", help="some of them")
    parser.add_argument("--rows", nargs="*", metavar="ROW", help="some of them; the last block is always there")
    parser.add_argument("--every", type=int, default=1, help="one query in so many")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    bench = Bench(args.backbone, read_preset(args.preset), args.work, [], [])
    chosen = variants(bench, args.work, args.rows or ROWS)
    every = {}
    for name in args.only or SETS[args.sets]:
        kept = partial(rows_path, args.work / "pose" / f"{name.replace(' ', '-')}-{args.every}")
        every[name] = {
            row: pose_set(name, args.every).rows(source, kept(row.replace(" ", "-"))) for row, source in chosen.items()
        }
        show(name, summary(every[name]))
    together = {
        row: [{**one, "query": f"{name}/{one['query']}"} for name in every for one in every[name][row]]
        for row in chosen
    }
    show("all", summary(together))
    protocol = made_with(bench.features.backbone) | {
        "preset": args.preset,
        "every": args.every,
        "scenes": "640 px, seed 0; see docs/pose.md; LM-O cut to the true boxes of what is visible",
    }
    sets = {name: summary(found) for name, found in every.items()}
    write_json(args.out, rounded({"protocol": protocol, "pooled": summary(together), "sets": sets}))
    print(f"wrote {args.out}")


def show(name: str, found: dict[str, Any]) -> None:
    print(name)
    for row, one in found.items():
        scores = "  ".join(f"{key} {value:6.2f}" for key, value in one.items() if isinstance(value, int | float))
        change = one.get("minus last")
        print(f"  {row:40s} {scores}  {'' if change is None else (change['value'], change['ci95'])}", flush=True)


if __name__ == "__main__":
    main()
