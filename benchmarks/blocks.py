"""Score every block of a backbone, pretrained beside random weights.

EQUIVIEW_SHARED=... python benchmarks/blocks.py --work runs/bench --out baselines/blocks_deit_tiny.json
"""

import argparse
from pathlib import Path

import torch
from _protocol import Rows, all_block_maps, entry, pick_blocks, plans, protocol, rounded, shared, split

from equiview.backbones import load_backbone
from equiview.io import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/bench"), help="views, features and rows are kept here")
    parser.add_argument("--out", type=Path, default=Path("baselines/blocks_deit_tiny.json"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    weights = shared() / "data" / "weights" / "deit-tiny-patch16-224"
    kinds = {"pretrained": load_backbone(weights), "random": load_backbone(weights, random_weights_seed=0)}
    rows = Rows(args.work, plans(split("test"), args.work))
    blocks = kinds["pretrained"].info.blocks
    for kind, backbone in kinds.items():
        for block in range(1, blocks + 1):
            score_block(rows, f"{kind} block {block}", backbone, block, args.work)
    table = {name: entry(own, {}) for name, own in rows.table.items()}
    ambiguous = {name: plan.ambiguous_share for name, plan in rows.plans.items()}
    write_json(
        args.out, rounded({"protocol": protocol(kinds["pretrained"]), "ambiguous_share": ambiguous, "rows": table})
    )
    print(f"wrote {args.out}")


def score_block(rows: Rows, variant: str, backbone, block: int, work: Path) -> None:
    rows.score(variant, lambda plan: pick_blocks(all_block_maps(backbone, plan, work), [block], backbone.info.dim))


if __name__ == "__main__":
    main()
