"""Score every block of a backbone, and blocks 4, 6, 8, 10 averaged, pretrained beside random weights.

EQUIVIEW_SHARED=... python benchmarks/blocks.py --work runs/bench --out baselines/blocks_deit_tiny.json
EQUIVIEW_SHARED=... python benchmarks/blocks.py --backbone equiview/tiny --out baselines/blocks_tiny.json
"""

import argparse
from pathlib import Path

import torch
from _protocol import Rows, all_block_maps, entry, pick_blocks, plans, protocol, rounded, shared, split

from equiview.io import write_json
from equiview.models.backbones import load_backbone
from equiview.models.heads import AverageHead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", help="folder or name; DeiT-Tiny of EQUIVIEW_SHARED if left out")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"), help="views, features and rows are kept here")
    parser.add_argument("--out", type=Path, default=Path("baselines/blocks_deit_tiny.json"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    weights = args.backbone or shared() / "data" / "weights" / "deit-tiny-patch16-224"
    kinds = {"pretrained": load_backbone(weights), "random": load_backbone(weights, random_weights_seed=0)}
    # Rows are kept by backbone: the variants of two backbones have the same names.
    rows = Rows(args.work / kinds["pretrained"].info.weights_sha256[:12], plans(split("test"), args.work))
    blocks = kinds["pretrained"].info.blocks
    for kind, backbone in kinds.items():
        for block in range(1, blocks + 1):
            score(rows, f"{kind} block {block}", backbone, (block,), args.work)
        score(rows, f"{kind} blocks 4,6,8,10 + 3x3", backbone, (4, 6, 8, 10), args.work, AverageHead(3))
    table = {name: entry(own, {}) for name, own in rows.table.items()}
    ambiguous = {name: plan.ambiguous_share for name, plan in rows.plans.items()}
    write_json(
        args.out, rounded({"protocol": protocol(kinds["pretrained"]), "ambiguous_share": ambiguous, "rows": table})
    )
    print(f"wrote {args.out}")


def score(rows: Rows, variant: str, backbone, blocks: tuple[int, ...], work: Path, head=None) -> None:
    def maps(plan):
        picked = pick_blocks(all_block_maps(backbone, plan, work), blocks, backbone.info.dim)
        return picked if head is None else [m.replace_tokens(head(m.tokens[None])[0]) for m in picked]

    rows.score(variant, maps)


if __name__ == "__main__":
    main()
