"""Score PF-WILLOW (all 900 ordered pairs) at every block, alone and averaged 3x3, and blocks 4,6,8,10 together.

EQUIVIEW_SHARED=... python benchmarks/transfer.py --backbone .../deit-tiny-patch16-224 --random-weights \\
    --out baselines/pf_willow_deit_tiny.json

Every picture goes through a backbone once; all its blocks are kept as float16 in memory.
"""

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _protocol import rounded

from equiview.data.keypoints.pfwillow import load_pf_willow
from equiview.io import read_image, write_json
from equiview.matching.localise import Localise
from equiview.metrics.pck import SCORINGS
from equiview.models.adapters.folder import versions
from equiview.models.backbones import Backbone, load_backbone
from equiview.models.extractor import Extractor, FeatureConfig, split_blocks
from equiview.models.heads import AverageHead
from equiview.tasks.transfer import TransferConfig, protocol_of, run, summarize
from equiview.types import FeatureMap, KeypointPair

SCORING = SCORINGS["pf-willow"]
TOGETHER = (4, 6, 8, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", nargs="+", required=True, help="folders or hub ids")
    parser.add_argument("--random-weights", action="store_true", help="score each backbone with random weights too")
    parser.add_argument("--willow", type=Path, help="PF-dataset-WILLOW; that of EQUIVIEW_SHARED if left out")
    parser.add_argument("--long-side", type=int, default=448)
    parser.add_argument("--localisation", choices=("argmax", "window"), default="argmax")
    parser.add_argument("--max-pairs", type=int, help="only so many, for a try")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("baselines/pf_willow_deit_tiny.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pairs = load_pf_willow(args.willow or shared_willow())[: args.max_pairs]
    backbones = {}
    for name in args.backbone:
        kinds = {"pretrained": None} | ({"random": 0} if args.random_weights else {})
        for kind, seed in kinds.items():
            backbone = load_backbone(name, device=args.device, random_weights_seed=seed)
            print(f"{name}, {kind} weights")
            blocks = BlockMaps(backbone, args.long_side, pairs)
            entry = score_backbone(blocks, pairs, TransferConfig(Localise(args.localisation)))
            backbones.setdefault(Path(name).name, {})[kind] = entry
            write_json(args.out, rounded({"versions": versions(), "pairs": len(pairs), "backbones": backbones}))
    print(f"wrote {args.out}")


def shared_willow() -> Path:
    folder = Path(os.environ.get("EQUIVIEW_SHARED", "")) / "data" / "semantic" / "PF-dataset-WILLOW"
    if not folder.is_dir():
        raise SystemExit("Set EQUIVIEW_SHARED, or give --willow.")
    return folder


def score_backbone(blocks: "BlockMaps", pairs: Sequence[KeypointPair], config: TransferConfig) -> dict[str, Any]:
    """Return {"protocol", "variants": {name: {"pck@0.05": {"value", "ci95", "n"}, ...}}}."""
    numbers = range(1, blocks.info.blocks + 1)
    variants = [((block,), average) for average in (False, True) for block in numbers]
    if max(TOGETHER) <= blocks.info.blocks:
        variants += [(TOGETHER, False), (TOGETHER, True)]
    table = {}
    for chosen, average in variants:
        name = f"block{'s' if len(chosen) > 1 else ''} {','.join(map(str, chosen))}" + (" + 3x3" if average else "")
        rows = run(Variant(blocks, chosen, average), pairs, config)
        metrics = summarize(rows, {}, SCORING)["metrics"]
        table[name] = {key: {k: metrics[key][k] for k in ("value", "ci95", "n")} for key in metrics}
        print(f"  {name:24s}" + "".join(f"  {key} {table[name][key]['value']:5.1f}" for key in table[name]), flush=True)
    return {"protocol": protocol_of(Variant(blocks, (), False), config, SCORING), "variants": table}


class BlockMaps:
    """Every block's L2-normalised tokens of every picture, float16, by the picture's pixels."""

    def __init__(self, backbone: Backbone, long_side: int, pairs: Sequence[KeypointPair]) -> None:
        self.info = backbone.info
        config = FeatureConfig(blocks=tuple(range(1, backbone.info.blocks + 1)), long_side=long_side)
        self.extractor = Extractor(backbone, config).eval()
        pictures = [read_image(path) for path in sorted({path for p in pairs for path in (p.image0, p.image1)})]
        self.maps = {}
        for rgb, fmap in zip(pictures, self.extractor.maps(pictures, batch_size=1, device="cpu"), strict=True):
            self.maps[rgb.tobytes()] = fmap.replace_tokens(fmap.tokens.half())


class Variant:
    """Some blocks, averaged or not, as a source of features."""

    def __init__(self, blocks: BlockMaps, chosen: tuple[int, ...], average: bool) -> None:
        self.blocks, self.chosen, self.head = blocks, chosen, AverageHead(3) if average else None

    def maps(self, views: Iterable[Any]) -> Iterator[FeatureMap]:
        for rgb in views:
            fmap = self.blocks.maps[rgb.tobytes()]
            parts = split_blocks(fmap, self.blocks.info.blocks)
            tokens = torch.cat([F.normalize(parts[b - 1].tokens.float(), dim=0) for b in self.chosen])
            yield fmap.replace_tokens(tokens if self.head is None else self.head(tokens[None])[0])

    def describe(self) -> dict[str, Any]:
        return self.blocks.extractor.describe() | {
            "backbone": Path(self.blocks.info.id).name,
            "blocks": "see the variant",
        }


if __name__ == "__main__":
    main()
