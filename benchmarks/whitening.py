"""What the fixed parts of the default features cost beside the network, and what the low-rank whitening changes.

    EQUIVIEW_SHARED=... python benchmarks/whitening.py --work runs/whitening --out speed_whitening.json

Times are of random networks of DINOv2's sizes on one picture of 640 px, in one process: processor seconds of all
threads together, which other work on the machine inflates less than wall time, and ratios within the run. Features and
scores are those of real weights on development objects.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from _protocol import rounded, shared, split, views_of
from torch import nn

from equiview.finetune.recipes import get_recipe
from equiview.finetune.stages.add_head import FIXED_HEADS
from equiview.io import write_json
from equiview.jobs.improve import apply_head
from equiview.models.adapters.folder import versions
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor
from equiview.models.heads import AverageHead, CenterHead, WhitenHead
from equiview.tasks.equivariance import MeasureConfig, plan_object, score_object, summarize
from equiview.types import FeatureMap

SHAPES = {"ViT-S/14": (384, 12, 6), "ViT-B/14": (768, 12, 12), "ViT-L/14": (1024, 24, 16)}
WEIGHTS = ("depth-anything-v2-small-encoder", "deit-tiny-patch16-224")
FORMS = {"exact": "whitened_average", "low_rank": "low_rank_whitened_average"}
SIDE, OBJECTS, POINTS = 640, 3, 300


def seconds(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Return the least processor and wall time of a few runs, behind one that warms up unless there is only one."""
    cpus, walls = [], []
    for _ in range(repeats + (repeats > 1)):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
    return {"cpu_s": min(cpus), "wall_s": min(walls)}


@torch.no_grad()
def costs(shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Return the times of a network of this width, depth and number of heads, and of each fixed part behind it."""
    dim, depth, heads = shape
    config = transformers.Dinov2Config(
        hidden_size=dim, num_hidden_layers=depth, num_attention_heads=heads, patch_size=14, image_size=518
    )
    with tempfile.TemporaryDirectory() as folder:
        config.architectures = ["Dinov2Model"]
        config.save_pretrained(folder)
        backbone = load_backbone(folder, random_weights_seed=0)
    extractor = Extractor(backbone, get_recipe("default").feature_config(depth))
    picture = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    network = seconds(partial(extractor, picture), repeats)
    tokens = realistic(dim * len(extractor.blocks), *extractor(picture).shape[2:])
    averaged = AverageHead()(tokens)
    centred = CenterHead()(averaged)
    parts = {
        "average": (AverageHead(), tokens),
        "center": (CenterHead(), averaged),
        "whiten_exact": (WhitenHead(), centred),
        "whiten_low_rank": (WhitenHead(method="low_rank"), centred),
    }
    found = {name: seconds(partial(part, given), repeats) for name, (part, given) in parts.items()}
    row: dict[str, Any] = {"tokens": list(tokens.shape[2:]), "channels": tokens.shape[1], "network": network} | found
    for clock in ("cpu_s", "wall_s"):
        part = {name: times[clock] for name, times in found.items()}
        heads_s = {
            "exact": 2 * part["average"] + part["center"] + part["whiten_exact"],
            "low_rank": 2 * part["average"] + part["center"] + part["whiten_low_rank"],
        }
        row[f"share_of_network_{clock}"] = {name: value / network[clock] for name, value in heads_s.items()}
    return row


def realistic(channels: int, rows: int, cols: int) -> torch.Tensor:
    """Return tokens whose variances fall off by three decades within 128 directions, as those of real features do."""
    generator = torch.Generator().manual_seed(0)
    few = min(channels, rows * cols)
    left = torch.randn(channels, few, generator=generator) * torch.exp(-torch.arange(few) / 37)
    return (left @ torch.randn(few, rows * cols, generator=generator)).reshape(1, channels, rows, cols)


@torch.no_grad()
def scores(weights: str, views: int, work: Path) -> dict[str, Any]:
    """Return how far both forms are apart on development objects: features, similarities and scores."""
    backbone = load_backbone(str(shared() / "data" / "weights" / weights))
    extractor = Extractor(backbone, get_recipe("default").feature_config(backbone.info.blocks))
    measure = MeasureConfig(points=POINTS)
    heads: dict[str, nn.Module] = {form: FIXED_HEADS[name]() for form, name in FORMS.items()}
    rows: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
    apart = []
    for name in split("dev")[:OBJECTS]:
        plan = plan_object(name, list(views_of(name, work))[:views], measure)
        base = list(extractor.maps(plan.views))
        found = {form: apply_head(head, base) for form, head in heads.items()}
        again = apply_head(heads["low_rank"], base[:1])[0]
        if not torch.equal(again.tokens, found["low_rank"][0].tokens):
            raise SystemExit("the low-rank form gave other features the second time")
        apart += [difference(*pair) for pair in zip(found["exact"], found["low_rank"], strict=True)]
        for form, maps in found.items():
            rows[form] += score_object(plan, maps, measure)
    result: dict[str, Any] = {
        "mean_cosine": sum(one["mean_cosine"] for one in apart) / len(apart),
        "min_cosine": min(one["min_cosine"] for one in apart),
        "mean_change_of_similarity": sum(one["mean_change"] for one in apart) / len(apart),
        "max_change_of_similarity": max(one["max_change"] for one in apart),
    }
    for form, own in rows.items():
        metrics = summarize(own, {})["metrics"]
        result[form] = {name: metrics[name]["value"] for name in ("ape", "pcdp@0.05", "pcdp@0.1")}
    result["pcdp@0.05_low_rank_minus_exact"] = result["low_rank"]["pcdp@0.05"] - result["exact"]["pcdp@0.05"]
    return result


def difference(exact: FeatureMap, low_rank: FeatureMap) -> dict[str, float]:
    """Compare the unit tokens of a picture, and the similarities of every seventh with every seventh."""
    a, b = (F.normalize(one.tokens.flatten(1), dim=0) for one in (exact, low_rank))
    cosine, some = (a * b).sum(0), slice(None, None, 7)
    change = (a[:, some].T @ a[:, some] - b[:, some].T @ b[:, some]).abs()
    return {
        "mean_cosine": float(cosine.mean()),
        "min_cosine": float(cosine.min()),
        "mean_change": float(change.mean()),
        "max_change": float(change.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/whitening"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--views", type=int, default=5)
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path("baselines/speed_whitening.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result: dict[str, Any] = {"threads": args.threads, "network_px": SIDE, "note": args.note, "versions": versions()}
    result |= {"objects": split("dev")[:OBJECTS], "views": args.views, "points": POINTS, "times": {}, "scores": {}}
    for name in WEIGHTS:
        result["scores"][name] = scores(name, args.views, args.work)
        print(name, rounded(result["scores"][name]), flush=True)
    for name, shape in SHAPES.items():
        result["times"][name] = costs(shape, args.repeats)
        print(name, rounded(result["times"][name]), flush=True)
        write_json(args.out, result)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
