"""A set of hundreds of objects: one process, two, what `--dry-run` foretells, and what comes of it.

    python benchmarks/many_objects.py --work WORK --objects 300 --out many_objects.json

Objects are spheres of random shape and colours in a text file, four views of 64 px each; some are broken (a view is cut
off). Few points, features of `equiview/tiny` at 112 px: it is the machinery that is measured. `cpu_s` is processor time
of all processes, which other work on the machine does not inflate (the wall time it does: `load` says how much there
was); it has what every worker takes to start, once a run. `unit_s` is the mean wall time of an object in a worker.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import trimesh

from equiview import load
from equiview.data.meshes import open_mesh
from equiview.io import read_jsonl
from equiview.jobs.engine import Engine, parse_engine
from equiview.jobs.measure import MeasureRun, measure_objects, plan_measure
from equiview.jobs.plan import PlanRecord
from equiview.jobs.scoring import UNITS_LOG
from equiview.matching.match import match_regions
from equiview.render import RenderConfig, render_views, ring
from equiview.tasks.equivariance import MeasureConfig
from equiview.types import FeatureMap

BROKEN_EVERY, FOLDER_SIZE, HW, VIEWS = 75, 100, (64, 64), 4


def draw_objects(folder: Path, count: int) -> list[str]:
    """Draw 000-xxx/ID from the seed that is its number, and return the names; every 75th is broken."""
    names = []
    for number in range(count):
        rng = np.random.default_rng(number)
        mesh = trimesh.creation.icosphere(subdivisions=3)
        waves = sum(rng.normal() * np.sin(mesh.vertices @ rng.normal(0, 3, 3)) for _ in range(4))
        mesh.vertices *= (1 + 0.15 * waves)[:, None] * rng.uniform(0.5, 1, 3)
        colours = rng.integers(0, 256, (len(mesh.vertices), 3), dtype=np.uint8)
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=colours)
        name = f"000-{number // FOLDER_SIZE:03d}/{number:08x}"
        path = folder / "meshes" / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        mesh.export(path)
        config = RenderConfig(hw=HW)
        render_views(open_mesh(str(path)), ring(VIEWS * 2, hw=HW)[:VIEWS], config, folder / name)
        if number % BROKEN_EVERY == BROKEN_EVERY - 1:
            view = folder / name / "view_0000.npz"
            view.write_bytes(view.read_bytes()[:100])
        names.append(name)
    return names


def cpu_s() -> float:
    """Return the processor time of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(work: Any, count: int) -> tuple[Any, dict[str, float]]:
    """Return the result, and seconds of wall and processor time, with the objects a second."""
    wall, cpu = time.perf_counter(), cpu_s()
    result = work()
    wall, cpu = time.perf_counter() - wall, cpu_s() - cpu
    return result, {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "objects_per_wall_s": round(count / wall, 2)}


def planned(work: Any, run: MeasureRun, out: Path, engine: Engine) -> tuple[PlanRecord, Any, dict[str, float]]:
    """Return the plan of a run, its summary and the time that it took after the plan."""
    plan = plan_measure(work, run, out, engine)
    summary, took = timed(partial(measure_objects, work, run, out, engine=engine), plan["units"] - plan["done"])
    return plan, summary, took


def matching_rate(points: int = 1000, side: int = 46, channels: int = 768, repeats: int = 8) -> dict[str, float]:
    """Return correspondences that are matched in a second of one core, and the share of it that the product takes.

    A pair of views as in `measure` at 640 px with patches of 14: the whole picture and the mask are searched.
    """
    random = torch.Generator().manual_seed(0)
    queries = F.normalize(torch.randn(points, channels, generator=random), dim=1)
    target = FeatureMap(torch.randn(channels, side, side, generator=random), (14.0, 14.0), (7.0, 7.0), (14 * side,) * 2)
    tokens, mask = target.tokens.flatten(1), torch.arange(side * side) % 3 > 0
    taken = {}
    for name, work in (
        ("match", partial(match_regions, queries, target, [None, mask])),
        ("product", lambda: queries @ tokens),
    ):
        work()
        start = time.process_time()
        for _ in range(repeats):
            work()
        taken[name] = (time.process_time() - start) / repeats
    return {
        "correspondences_per_cpu_s": round(points / taken["match"]),
        "product_gflop_per_cpu_s": round(2e-9 * points * channels * side * side / taken["product"], 1),
        "share_of_product": round(taken["product"] / taken["match"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--few", type=int, default=60, help="For the comparison of one and two processes.")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    names = draw_objects(args.work, args.objects)
    features = load("equiview/tiny", blocks=(10,), long_side=112)
    few, whole = args.work / "few.txt", args.work / "all.txt"
    few.write_text("\n".join(names[: args.few]))
    whole.write_text("\n".join(names))
    measure = MeasureConfig(points=60)
    found: dict[str, Any] = {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "objects": args.objects}
    rows = {}
    for name in ("process:1", "process:2"):
        run, out = MeasureRun((str(few),), VIEWS, measure), args.work / name.replace(":", "-")
        shutil.rmtree(out, ignore_errors=True)
        _, found[name] = timed(partial(measure_objects, features, run, out, engine=parse_engine(name)), args.few)
        found[name]["unit_s"] = round(float(np.mean([line["seconds"] for line in read_jsonl(out / UNITS_LOG)])), 3)
        rows[name] = (out / "rows.jsonl").read_bytes()
    assert rows["process:1"] == rows["process:2"]
    found["load"] = [round(one, 1) for one in os.getloadavg()]
    out = args.work / "all"
    shutil.rmtree(out, ignore_errors=True)
    run = MeasureRun((str(whole),), VIEWS, measure)
    plan, summary, took = planned(features, run, out, parse_engine("process:2"))
    broken = summary["protocol"].get("broken", [])
    found["all"] = {
        "plan": plan,
        "took": took,
        "broken": len(broken),
        "pairs": len((out / "rows.jsonl").read_text().splitlines()),
    }
    found["all"]["foretold_of_wall"] = round(plan["remaining_s"] / took["wall_s"], 2)
    found["matching"] = matching_rate()
    args.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
