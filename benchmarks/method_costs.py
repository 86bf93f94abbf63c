"""What the rows of the table of methods cost: CPU seconds and peak memory, from meshes on disk to a saved adapter.

    EQUIVIEW_SHARED=... python benchmarks/method_costs.py --work runs/costs --out baselines/method_costs.json

Every way of adapting is the real command, `equiview finetune`, in a fresh process and an empty folder; only its time
budget is off, so that each does all the work its row of the table did. CPU seconds (user and system, all threads) are
inflated by other work on the machine far less than wall seconds. Peak memory is the largest resident size of the
process. Strength is free: rows that differ in nothing else cost the same. What all rows pay, and controls alone, is
one forward pass a picture: `extraction`. Finished ways lie in WORK, and the same command goes on where it stopped; rows
of OUT that it was not asked for are kept.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _method import Repetition, plain_name, repetitions
from _protocol import rounded, shared, source_of, with_kept

from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.finetune.recipes import AUXILIARY_OBJECTS, DEFAULT, RECIPES, WHITENED
from equiview.finetune.stages.add_head import FIXED_HEADS
from equiview.io import read_json, write_json
from equiview.models.adapters.folder import versions
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import HeadChain, LinearHead

ONE = Repetition(0, ("large_marker",))
FIVE, TEN = repetitions(5)[0], repetitions(10)[0]
# `default` is to stop after ten minutes; a row of the table never did.
ALL = "time_budget_s=none"
# Three sizes and the mirrored picture, as in the recipe `thorough`.
SEEN = RECIPES["thorough"].features
REPEATS = 20


@dataclass(frozen=True)
class Way:
    """What `equiview finetune` is given for one row of the table."""

    recipe: str
    objects: Sequence[str] = ONE.objects
    settings: Sequence[str] = ()

    def arguments(self, backbone: str, objects: Sequence[str], out: str) -> list[str]:
        settings = ["--set", *self.settings] if self.settings else []
        what = ["--backbone", backbone, "--train-objects", *objects, "--recipe", self.recipe, *settings]
        return ["finetune", *what, "--seed", str(ONE.seed), "--device", "cpu", "--out", out]


# The cheap ones first. The names are those of the table of methods.
WAYS = {
    "one-step": Way("one-step"),
    "wiener": Way("wiener"),
    "one-step of 0.2.0 (not centred)": Way(
        "wiener", settings=("head=average", "closed_form.center=objects", "strength=1")
    ),
    "paper, 1 step": Way("paper", settings=("steps=1",)),
    "paper, 10 steps": Way("paper", settings=("steps=10",)),
    "one-step, 5 objects": Way("one-step", FIVE.objects),
    "one-step, 10 objects": Way("one-step", TEN.objects),
    "default": Way("default", settings=(ALL,)),
    "default, without companions": Way("default", settings=(ALL, "auxiliary_objects=")),
    "default, without the object": Way(
        "default", AUXILIARY_OBJECTS[:1], (ALL, f"auxiliary_objects={','.join(AUXILIARY_OBJECTS[1:])}")
    ),
    "default, 1 step": Way("default", settings=(ALL, "head_training.steps=1")),
    "default, 10 steps": Way("default", settings=(ALL, "head_training.steps=10")),
    "default, 5 objects": Way("default", FIVE.objects, (ALL,)),
    "one-step, three sizes and mirrored": Way(
        "one-step",
        settings=(f"features.sizes={','.join(map(str, SEEN.sizes))}", f"features.mirrored={SEEN.mirrored}"),
    ),
    "default, three sizes and mirrored": Way("thorough", settings=(ALL,)),
    "own-object": Way("own-object", settings=(ALL,)),
    "lora-and-head": Way("lora-and-head", settings=(ALL,)),
    "default, 1000 steps": Way("default", settings=(ALL, "head_training.steps=1000")),
    "default, 10 objects": Way("default", TEN.objects, (ALL,)),
}
ALSO = {
    "paper, 100 steps": Way("paper", settings=("steps=100",)),
    "paper, 5 objects": Way("paper", FIVE.objects, ("steps=100",)),
    "paper, 10 objects": Way("paper", TEN.objects, ("steps=100",)),
    "paper, 1000 steps": Way("paper", settings=("steps=1000",)),
}


def cost(name: str, way: Way, backbone: str, work: Path, threads: int) -> dict[str, Any]:
    """Return what one way of adapting costs; measured unless WORK has it for the same command and threads."""
    plain = plain_name(name)
    kept, folder, log = work / f"{plain}.json", work / plain, work / f"{plain}.log"
    shown = ["equiview", *way.arguments(Path(backbone).name, [Path(source_of(o)).name for o in way.objects], "OUT")]
    if kept.exists():
        found = read_json(kept)
        if (found["command"], found["threads"]) == (" ".join(shown), threads):
            return found
    # A folder of an interrupted run would be gone on with, and part of the work be missed.
    shutil.rmtree(folder, ignore_errors=True)
    code = [sys.executable, "-c", "from equiview.cli import main; main()"]
    command = [*code, *way.arguments(backbone, [source_of(one) for one in way.objects], str(folder))]
    found = {"command": " ".join(shown), "threads": threads, "load": os.getloadavg()[0]} | run(command, log, threads)
    if not (folder / "adapter" / "equiview.json").is_file():
        raise SystemExit(f"{name}: no adapter came out; see {log}.")
    write_json(kept, rounded(found))
    shutil.rmtree(folder)
    return read_json(kept)


def run(command: Sequence[str], log: Path, threads: int) -> dict[str, float]:
    """Run a command and return its seconds and peak memory.

    Linux counts the memory of whoever starts a process into the peak of that process. This one holds no network and no
    pictures, so it stays below any command that does; that is checked.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("w") as text:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen(command, stdout=text, stderr=subprocess.STDOUT, env=environment)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"exit status {process.returncode}: {' '.join(command)}\n{log.read_text()[-2000:]}")
    own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if used.ru_maxrss * 1024 <= 1.1 * own:
        raise SystemExit(f"A peak of {used.ru_maxrss} KiB may be that of this process.")
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - started,
        "peak_gb": used.ru_maxrss * 1024 / 1e9,
    }


@torch.no_grad()
def extraction(weights: str) -> dict[str, dict[str, float]]:
    """Return median seconds of the features of one 640 px picture, after one to warm up; runs in its own process."""
    backbone = load_backbone(weights)
    depth, dim = backbone.info.blocks, backbone.info.dim
    spread = DEFAULT.feature_config(depth).blocks
    fixed, channels = FIXED_HEADS[WHITENED.head](), dim * len(spread)
    linear = LinearHead(torch.eye(channels), torch.zeros(channels), DEFAULT.strength)
    names = ",".join(map(str, spread))
    whole = HeadChain([fixed, linear])
    sources = {
        "last block": (FeatureConfig((depth,)), None),
        f"blocks {names}": (FeatureConfig(spread), None),
        f"blocks {names} + averages + whitening": (FeatureConfig(spread), fixed),
        f"blocks {names} + the head of an adapter": (FeatureConfig(spread), whole),
        "the same, three sizes and mirrored": (replace(SEEN, blocks=spread), whole),
    }
    made = {n: Extractor(backbone, replace(c, long_side=640), h).eval() for n, (c, h) in sources.items()}
    picture = dead_leaves(0, (640, 640))
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    # In turns, so that other work on the machine does not fall on one of them alone.
    for _ in range(REPEATS + 1):
        for name, source in made.items():
            wall, cpu = time.perf_counter(), time.process_time()
            list(source.maps([picture]))
            seconds[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: dict(zip(("cpu_s", "wall_s"), map(float, np.median(own[1:], axis=0)), strict=True))
        for name, own in seconds.items()
    }


def extraction_cost(backbone: str, work: Path, threads: int) -> dict[str, Any]:
    """Return `extraction` as measured in a process of its own, unless WORK has it."""
    kept = work / f"extraction-{threads}.json"
    if not kept.exists():
        write_json(work / "made.json", {})
        command = [sys.executable, __file__, "--backbone", backbone, "--extract", str(work / "made.json")]
        used = run(command, work / "extraction.log", threads)
        about = {"picture_px": [640, 640], "repeats": REPEATS, "threads": threads, "peak_gb": used["peak_gb"]}
        write_json(kept, rounded(about | {"rows": read_json(work / "made.json")}))
    return read_json(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="", help="DeiT-Tiny of EQUIVIEW_SHARED if left out")
    parser.add_argument("--work", type=Path, default=Path("runs/costs"))
    parser.add_argument("--out", type=Path, default=Path("baselines/method_costs.json"))
    parser.add_argument("--only", nargs="*", choices=list(WAYS), default=list(WAYS), metavar="ROW", help="some rows")
    parser.add_argument("--also", nargs="*", choices=list(ALSO), default=[], metavar="ROW", help=", ".join(ALSO))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--extract", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    backbone = args.backbone or str(shared() / "data" / "weights" / "deit-tiny-patch16-224")
    if args.extract:
        write_json(args.extract, extraction(backbone))
        return
    result: dict[str, Any] = {
        "benchmark": "method_costs",
        "backbone": Path(backbone).name,
        "long_side": 640,
        "threads": args.threads,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": versions(),
        "extraction": extraction_cost(backbone, args.work, args.threads),
    }
    found: dict[str, Any] = {}
    for name in [*args.only, *args.also]:
        own = found[name] = cost(name, (WAYS | ALSO)[name], backbone, args.work, args.threads)
        print(name, json.dumps({key: own[key] for key in ("cpu_s", "wall_s", "peak_gb")}), flush=True)
        write_json(args.out, result | {"rows": with_kept(found, [*WAYS, *ALSO], args.out)})
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
