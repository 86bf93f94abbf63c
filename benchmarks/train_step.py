"""Seconds and peak memory of a training step, by recipe and number format, each in a process of its own.

    python benchmarks/train_step.py --backbone FOLDER_OR_HUB_ID --out train_step.json [--device cuda]

The plain twin runs the two pictures of a pair one after the other instead of in one forward pass. Ratios are against
the first row of the same recipe (float32, both pictures at once).
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from equiview.data.meshes import open_object
from equiview.finetune.network_settings import NetworkTraining
from equiview.finetune.pairs import PAIR_SAMPLERS, PairSample
from equiview.finetune.recipes import RECIPES, prepare
from equiview.finetune.train import accumulate_gradients, prepare_pairs, trainable
from equiview.models.backbones import load_backbone

VARIANTS = ("float32", "bfloat16", "float32 one by one")


class OneByOne(torch.nn.Module):
    """The plain twin: every picture has a forward pass of its own."""

    def __init__(self, extractor: torch.nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    @property
    def backbone(self) -> torch.nn.Module:
        return self.extractor.backbone

    def geometry(self, image_hw: tuple[int, int]):
        return self.extractor.geometry(image_hw)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.extractor(image[None]) for image in images])


def usable_pairs(views, settings: NetworkTraining, count: int) -> list[PairSample]:
    pairs, index = [], 0
    while len(pairs) < count:
        found = PAIR_SAMPLERS[settings.pairs.sampler]({"object": views}, settings.pairs, seed=0, index=index)
        pairs += [found] if isinstance(found, PairSample) else []
        index += 1
    return pairs


def measure(backbone: str, recipe_name: str, variant: str, device: str, steps: int, views_dir: str) -> dict:
    """Return timings of one variant; called in a fresh process, so that the peak memory is its own."""
    dtype = variant.split(maxsplit=1)[0]
    recipe = RECIPES[recipe_name]
    settings = replace(recipe.stage(NetworkTraining), dtype=dtype)
    views = list(open_object("procedural:0", n_views=6, seed=0, cache_dir=Path(views_dir)))
    pairs = usable_pairs(views, settings, steps + 1)
    started = time.perf_counter()
    for first in range(3):
        prepare_pairs({"object": views}, settings, 0, first)
    seconds_pairs = (time.perf_counter() - started) / 3
    extractor = prepare(load_backbone(backbone, device=device), recipe, seed=0)
    parameters = list(trainable(extractor).values())
    model = OneByOne(extractor) if "one by one" in variant else extractor
    optimiser = torch.optim.AdamW(parameters, lr=settings.lr)
    before_mib = _peak_mib("cpu")
    seconds, busy, losses = [], [], []
    for pair in pairs:
        started, busy_before = time.perf_counter(), time.process_time()
        losses.append(accumulate_gradients(model, [pair], settings, torch.device(device), optimiser))
        optimiser.step()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        busy.append(time.process_time() - busy_before)
    return {
        "recipe": recipe_name,
        "variant": variant,
        "seconds_a_step": round(min(seconds[1:]), 4),  # the first warms up; the fastest is the least disturbed
        "cpu_seconds_a_step": round(min(busy[1:]), 4),  # of all threads together
        "seconds_first_step": round(seconds[0], 4),
        "seconds_pair_sampling": round(seconds_pairs, 4),
        "peak_mib": round(_peak_mib(device), 1),
        "peak_mib_before_training": round(before_mib, 1),
        "first_loss": round(losses[0], 5),
    }


def _peak_mib(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recipes", nargs="+", default=["lora-only", "paper"])
    parser.add_argument("--out", type=Path, default=Path("train_step.json"))
    parser.add_argument("--one", nargs=3, metavar=("RECIPE", "VARIANT", "VIEWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        recipe, variant, views = options.one
        print(json.dumps(measure(options.backbone, recipe, variant, options.device, options.steps, views)))
        return
    best: dict[tuple[str, str], dict] = {}
    with tempfile.TemporaryDirectory() as views:
        open_object("procedural:0", n_views=6, seed=0, cache_dir=Path(views))
        # Rounds are interleaved, so that other work on the machine does not fall on one variant alone.
        for _ in range(options.rounds):
            for key in ((recipe, variant) for recipe in options.recipes for variant in VARIANTS):
                command = [sys.executable, __file__, *sys.argv[1:], "--one", *key, views]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                row = json.loads(done.stdout.splitlines()[-1])
                if key not in best or row["seconds_a_step"] < best[key]["seconds_a_step"]:
                    best[key] = row
    rows = list(best.values())
    for row in rows:
        base = best[row["recipe"], VARIANTS[0]]
        row["speed_ratio"] = round(base["seconds_a_step"] / row["seconds_a_step"], 3)
        print(row)
    card = torch.cuda.get_device_name() if options.device != "cpu" else platform.processor() or platform.machine()
    result = {
        "benchmark": "train_step",
        "device": card,
        "threads": options.threads,
        "torch": torch.__version__,
        "backbone": Path(options.backbone).name,
        "network_px": 640,
        "rows": rows,
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
