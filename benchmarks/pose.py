"""One-shot pose of the Middlebury dinosaur from posed pictures alone; every second one a reference, in turns.

EQUIVIEW_SHARED=... python benchmarks/pose.py --work runs/pose --out baselines/dino_pose_deit_tiny.json

Settings were chosen on dinoSparseRing (`--set dinoSparseRing`) and are the defaults below; --backbone and --adapter
measure other features the same way.
"""

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _protocol import rounded, shared

from equiview.data.captures.middlebury import middlebury_scenes, open_middlebury
from equiview.io import append_jsonl, read_jsonl, write_json
from equiview.matching.pose import LocateConfig
from equiview.models.adapters.folder import versions
from equiview.models.extractor import Extractor, FeatureConfig, split_blocks
from equiview.models.heads import AverageHead
from equiview.models.loading import load
from equiview.tasks.pose import PoseConfig, protocol_of, run, summarize
from equiview.types import FeatureMap

MIXED = (4, 6, 8, 10)
LOCATE = LocateConfig(rolls=(0, 1, 2, 3))
SCORES = ("pose_recall@5deg", "pose_recall@10deg", "rotation_error_deg_median")


class Stored:
    """Maps of one backbone kept on disk by the picture: several blocks at once, so that variants are cheap."""

    def __init__(self, source: Extractor, folder: Path, blocks: tuple[int, ...], average: bool) -> None:
        self.source, self.folder, self.average = source, folder, average
        self.blocks = blocks or source.blocks
        self.all_blocks = source.blocks

    def maps(self, pictures: Iterable[np.ndarray]) -> Iterator[FeatureMap]:
        for picture in pictures:
            fmap = self._stored(picture)
            if self.blocks != self.all_blocks:
                parts = split_blocks(fmap, len(self.all_blocks))
                fmap = fmap.replace_tokens(torch.cat([parts[self.all_blocks.index(b)].tokens for b in self.blocks]))
            yield fmap.replace_tokens(AverageHead()(fmap.tokens[None])[0]) if self.average else fmap

    def _stored(self, picture: np.ndarray) -> FeatureMap:
        hw = picture.shape[:2]
        path = self.folder / f"{hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()[:24]}.pt"
        if path.exists():
            tokens = torch.load(path, weights_only=True).float()
            return FeatureMap(tokens, *self.source.geometry(hw), hw)
        (fmap,) = self.source.maps([picture])
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(fmap.tokens.half(), path)
        return fmap

    def describe(self) -> dict[str, Any]:
        head = [AverageHead().spec()] if self.average else []
        about = self.source.describe()
        return about | {"blocks": list(self.blocks), "head": about["head"] + head}


def variants(args: argparse.Namespace) -> dict[str, Stored]:
    """Return the features by name: last block, mixed blocks averaged; or an adapter's own."""
    about = {"long_side": args.long_side, "stride": args.stride}
    if args.adapter is not None:
        model = load(args.backbone, adapter=args.adapter, **about)
        key = hashlib.sha256(repr(model.describe()).encode()).hexdigest()[:12]
        return {f"adapter {args.adapter.name}": Stored(model, args.work / key, model.blocks, False)}
    backbone = load(args.backbone).backbone
    last = backbone.info.blocks
    mixed = tuple(args.blocks) or MIXED
    both = tuple(sorted({*mixed, last}))
    source = Extractor(backbone, FeatureConfig(blocks=both, **about)).eval()
    key = hashlib.sha256(repr(source.describe()).encode()).hexdigest()[:12]
    names = {"last block": ((last,), False), f"blocks {','.join(map(str, mixed))} averaged 3x3": (mixed, True)}
    return {name: Stored(source, args.work / key, *how) for name, how in names.items()}


def score(name: str, source: Stored, args: argparse.Namespace) -> dict[str, Any]:
    """Locate all queries (kept in WORK, so that an interrupted run goes on) and return the summary."""
    folder = shared() / "data" / "captures" / "middlebury" / args.set
    low, high = open_middlebury(folder).box
    config = PoseConfig(locate=replace(LOCATE, rolls=tuple(args.rolls)), box=(tuple(low), tuple(high)))
    protocol = protocol_of(source, config, data=args.set, split="every second image a reference, both halves in turn")
    key = hashlib.sha256(repr(protocol).encode()).hexdigest()[:12]
    rows: list[dict[str, Any]] = []
    for number, scene in enumerate(middlebury_scenes(folder)):
        path = args.work / "rows" / f"{key}-{number}.jsonl"
        if len(read_jsonl(path)) != len(scene.queries):
            path.unlink(missing_ok=True)
            for row in run(source, [scene], config):
                append_jsonl(path, row)
        rows += read_jsonl(path)
    summary = summarize(rows, protocol)
    shown = "  ".join(f"{score} {summary['metrics'][score]['value']:.2f}" for score in SCORES)
    print(f"{name:36s} {shown}  n {len(rows)}", flush=True)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="dino_hemisphere61", help="folder of captures/middlebury")
    parser.add_argument("--backbone", default=None, help="default: deit-tiny-patch16-224 of EQUIVIEW_SHARED")
    parser.add_argument("--adapter", type=Path, default=None, help="folder of an adapter: its features alone")
    parser.add_argument("--blocks", type=int, nargs="*", default=[], help="the mixed blocks; 4 6 8 10")
    parser.add_argument("--long-side", type=int, default=640)
    parser.add_argument("--stride", type=int, default=None)
    parser.add_argument("--rolls", type=int, nargs="+", default=list(LOCATE.rolls), help="turns tried, in quarters")
    parser.add_argument("--work", type=Path, default=Path("runs/pose"), help="features and rows are kept here")
    parser.add_argument("--out", type=Path, default=Path("baselines/dino_pose_deit_tiny.json"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.backbone = args.backbone or str(shared() / "data" / "weights" / "deit-tiny-patch16-224")
    torch.set_num_threads(args.threads)
    found = {name: score(name, source, args) for name, source in variants(args).items()}
    for summary in found.values():
        features = summary["protocol"]["features"]
        features["backbone"] = Path(features["backbone"]).name
    write_json(args.out, rounded({"data": args.set, "versions": versions(), "rows": found}))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
