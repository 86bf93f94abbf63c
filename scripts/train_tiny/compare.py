"""Hold trained students against their teacher on photos and dev objects that none of them learned from.

    EQUIVIEW_SHARED=... PYTHONPATH=benchmarks python scripts/train_tiny/compare.py --teacher FOLDER --photos FOLDER \\
        --out baselines/tiny_routes.json RUN [RUN ...]

Per run: the unexplained share of each of the teacher's states on whole held-out photos at 224 and 448 px, and
PCDP@0.05 on the dev objects at some blocks and with blocks 4, 6, 8, 10 averaged.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from _protocol import MEASURE, all_block_maps, pick_blocks, plans, split
from objective import measure_scales, unexplained
from pictures import read_photos
from PIL import Image
from save import save_folder, trained
from student import states
from train import Teacher

from equiview.io import read_json, read_jsonl, write_json
from equiview.models.backbones import load_backbone
from equiview.models.heads import AverageHead
from equiview.tasks.equivariance import score_object, summarize

PHOTOS = 30
BLOCKS = (4, 8, 12)


def held_out(photos: Path, side: int) -> list[torch.Tensor]:
    """Return whole held-out photos as batches of squares."""
    own = [
        Image.fromarray(p).resize((side, side), Image.Resampling.BICUBIC) for p in read_photos(photos, True)[:PHOTOS]
    ]
    pictures = torch.from_numpy(np.stack([np.asarray(p) for p in own])).permute(0, 3, 1, 2).float() / 255
    return list(pictures.split(10))


@torch.no_grad()
def on_photos(student: torch.nn.Module, teacher: Teacher, photos: Path) -> dict[str, list[float]]:
    """Return the unexplained share of every state, by size of the picture."""
    found = {}
    for side in (224, 448):
        pixels = [teacher.pixels(one) for one in held_out(photos, side)]
        wanted = [teacher.states(one) for one in pixels]
        scales = measure_scales(wanted)
        values = [unexplained(states(student, a), b, scales) for a, b in zip(pixels, wanted, strict=True)]
        found[str(side)] = [round(v, 4) for v in torch.stack(values).mean(0).tolist()]
    return found


@torch.no_grad()
def weights_in_common(student: torch.nn.Module, teacher: Teacher) -> dict[str, float]:
    """Return the cosine of the student's and the teacher's weights; of the blocks' matrices the largest in size."""
    own, theirs = dict(student.named_parameters()), dict(teacher.model.named_parameters())
    cosine = {n: float(torch.cosine_similarity(p.flatten(), theirs[n].flatten(), dim=0)) for n, p in own.items()}
    blocks = max(abs(cosine[name]) for name, p in own.items() if name.startswith("layers.") and p.ndim == 2)
    first = {"patch embedding": "patch_embeddings.projection.weight", "positions": "position_embeddings"}
    return {name: round(cosine[f"embeddings.{path}"], 3) for name, path in first.items()} | {"blocks": round(blocks, 3)}


@torch.no_grad()
def on_dev_objects(folder: Path, work: Path) -> dict[str, float]:
    """Return PCDP@0.05 of some blocks, and of blocks 4, 6, 8, 10 with a 3x3 average."""
    backbone = load_backbone(folder)
    choices = {f"block {b}": ((b,), None) for b in BLOCKS} | {"blocks 4,6,8,10 + 3x3": ((4, 6, 8, 10), AverageHead(3))}
    rows: dict[str, list] = {name: [] for name in choices}
    for plan in plans(split("dev"), work).values():
        every = all_block_maps(backbone, plan, work)
        for name, (blocks, head) in choices.items():
            maps = pick_blocks(every, blocks, backbone.info.dim)
            maps = maps if head is None else [m.replace_tokens(head(m.tokens[None])[0]) for m in maps]
            rows[name] += score_object(plan, maps, MEASURE)
    return {name: round(summarize(own, {})["metrics"]["pcdp@0.05"]["value"], 2) for name, own in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    teacher = Teacher(args.teacher)
    table = {"teacher": {"dev_pcdp@0.05": on_dev_objects(args.teacher, args.work)}}
    for run in args.runs:
        student = trained(run, teacher.model.config)
        last = read_jsonl(run / "log.jsonl")[-1]
        entry = {"settings": read_json(run / "run.json"), "steps": last["step"], "seconds": last["seconds"]}
        entry["unexplained_of_held_out_photos"] = on_photos(student, teacher, args.photos)
        entry["cosine_to_the_teachers_weights"] = weights_in_common(student, teacher)
        save_folder(student, teacher.info.mean, teacher.info.std, args.work / "students" / run.name)
        entry["dev_pcdp@0.05"] = on_dev_objects(args.work / "students" / run.name, args.work)
        table[run.name] = entry
        print(run.name, entry["dev_pcdp@0.05"], flush=True)
    write_json(args.out, table)
    print(f"Wrote {args.out}")


if __name__ == "__main__":
    main()
