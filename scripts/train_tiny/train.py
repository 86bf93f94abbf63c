"""Train the backbone that equiview ships: a student of random weights learns from a teacher's dense outputs.

Routes, compared on photos that none of them saw (compare.py):
    outputs   end to end: after every block the student's state shall be the teacher's
    handed    the same, but before a block the student is handed the teacher's state in place of its own, always at
              first and ever less often: no block has to wait until those below it are good
Both see the teacher's outputs only, never its weights, and no two views of anything.

    python scripts/train_tiny/train.py --teacher FOLDER --photos FOLDER --out runs/tiny
        [--route handed] [--mix photos] [--steps 3000] [--seed 0]

The same command goes on where an interrupted run stopped. `log.jsonl` has a row every LOG_EVERY steps.
"""

import argparse
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from objective import measure_scales, unexplained
from pictures import MIXES, batch, made_pictures, read_photos
from student import States, handed_states, new_student, states
from torch import nn
from transformers import ViTModel

from equiview.io import append_jsonl, atomic_path
from equiview.jobs.run_folder import claim_folder
from equiview.models.backbones import load_backbone

LOG_EVERY, SAVE_EVERY = 20, 200
SCALE_BATCHES = 24
FIRST_SCALE_BATCH = 1_000_000_000  # batches that no step uses
DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Settings:
    """What decides the result.

    Attributes:
        route: `outputs` or `handed`.
        mix: Key of `MIXES`.
        steps: In all.
        handed_until: Share of the steps after which the student is on its own (route `handed`).
        matrix_lr: Of matrices (Muon). The rest has AdamW with `other_lr`.
        other_lr: Peak rates; they rise over the first 2 % of the steps and fall to zero along a cosine.
        seed: Of the weights and the batches.
    """

    route: str = "handed"
    mix: str = "photos"
    steps: int = 3000
    handed_until: float = 0.4
    matrix_lr: float = 4e-3
    other_lr: float = 4e-3
    seed: int = 0

    def own_share(self, step: int) -> float:
        """How often the student goes on with its own state, 0 to 1."""
        return 1.0 if self.route == "outputs" else min(1.0, step / (self.handed_until * self.steps))

    def rate(self, step: int) -> float:
        """Share of the peak rate."""
        warm = 0.02 * self.steps
        return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class Teacher:
    """Frozen; gives its states for pictures in 0..1."""

    def __init__(self, folder: Path) -> None:
        backbone = load_backbone(folder)
        self.model: ViTModel = backbone.model
        self.info = backbone.info
        self.mean = torch.tensor(self.info.mean)[:, None, None]
        self.std = torch.tensor(self.info.std)[:, None, None]

    def pixels(self, pictures: torch.Tensor) -> torch.Tensor:
        return (pictures - self.mean) / self.std

    @torch.no_grad()
    def states(self, pixels: torch.Tensor) -> States:
        with torch.autocast("cpu", DTYPE):
            return states(self.model, pixels)


def optimizers(student: ViTModel, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for everything else."""
    matrices = [p for p in student.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in student.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=settings.matrix_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=settings.other_lr, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def errors(
    student: ViTModel, teacher: Teacher, scales: list, pictures: torch.Tensor, own_share: float, seed: int
) -> torch.Tensor:
    """Return the unexplained share of every state."""
    pixels = teacher.pixels(pictures)
    wanted = teacher.states(pixels)
    with torch.autocast("cpu", DTYPE):
        if own_share < 1:
            return unexplained(handed_states(student, pixels, wanted, own_share, seed), wanted, scales)
        return unexplained(states(student, pixels), wanted, scales)


def train(teacher: Teacher, photos: Path, out: Path, settings: Settings) -> ViTModel:
    """Train, or go on with it, and return the student."""
    claim_folder(out, asdict(settings) | {"teacher": teacher.info.weights_sha256})
    sources = {"photos": read_photos(photos, held_out=False), **made_pictures(out.parent)}
    mix = MIXES[settings.mix]
    scales = measure_scales(
        teacher.states(teacher.pixels(batch(sources, mix, settings.seed, FIRST_SCALE_BATCH + i)))
        for i in range(SCALE_BATCHES)
    )
    student = new_student(teacher.model.config, settings.seed)
    optims = optimizers(student, settings)
    first, seconds = restore(out / "checkpoint.pt", student, optims)
    started = time.monotonic() - seconds
    for step in range(first, settings.steps):
        for optim in optims:
            peak = settings.matrix_lr if isinstance(optim, torch.optim.Muon) else settings.other_lr
            for group in optim.param_groups:
                group["lr"] = settings.rate(step) * peak
        share = settings.own_share(step)
        values = errors(student, teacher, scales, batch(sources, mix, settings.seed, step), share, step)
        values.mean().backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        if (step + 1) % LOG_EVERY == 0:
            row = {"step": step + 1, "own_share": round(share, 3), "seconds": round(time.monotonic() - started, 1)}
            row["unexplained"] = [round(v, 4) for v in values.tolist()]
            append_jsonl(out / "log.jsonl", row)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == settings.steps:
            save(out / "checkpoint.pt", student, optims, step + 1, time.monotonic() - started)
    return student.eval()


def save(path: Path, student: nn.Module, optims: list, step: int, seconds: float) -> None:
    state = {"student": student.state_dict(), "optims": [o.state_dict() for o in optims]}
    with atomic_path(path) as temporary:
        torch.save(state | {"step": step, "seconds": seconds}, temporary)


def restore(path: Path, student: nn.Module, optims: list) -> tuple[int, float]:
    """Load the last checkpoint, if there is one; return the steps and seconds done."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    student.load_state_dict(state["student"])
    for optim, own in zip(optims, state["optims"], strict=True):
        optim.load_state_dict(own)
    return state["step"], state["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--route", choices=("outputs", "handed"), default="handed")
    parser.add_argument("--mix", choices=tuple(MIXES), default="photos")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    settings = Settings(args.route, args.mix, args.steps, seed=args.seed)
    train(Teacher(args.teacher), args.photos, args.out, settings)


if __name__ == "__main__":
    main()
