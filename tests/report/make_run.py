"""Write a run folder with plausible numbers and small drawn pictures: python tests/report/make_run.py DIR."""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from equiview.tasks.comparison import improvement_summary
from equiview.tasks.equivariance import summarize

OBJECTS = ("mug", "drill", "toy car", "shoe", "<b>&lamp")
GAINS = {"pretrained": 0.0, "last_block": -3.0, "fixed_average": 2.6, "random_head": -1.5, "adapted": 4.6}
SIZE, TOKENS, POINTS = 256, 20, 120


def write_run(
    folder: Path,
    *,
    objects: tuple[str, ...] = OBJECTS,
    gains: dict[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> Path:
    """Write an `improve` run."""
    gains = GAINS if gains is None else gains
    rows = [row for variant in gains for row in _rows(variant, gains[variant], objects)]
    protocol = {
        "features": {"backbone": "deit-tiny", "blocks": [4, 6, 8, 10], "long_side": 640, "weights_sha256": "ab12"},
        "measure": {"points": 300, "localisation": "token + parabola in 3x3", "seed": 0},
        "run": {
            "backbone": "facebook/deit-tiny-patch16-224",
            "recipe": {"name": "default", "steps": 120},
            "train_objects": ["meshes/screwdriver.glb"],
            "test_objects": [f"meshes/{name}.glb" for name in objects],
            "views": 7,
            "seed": 0,
        },
        "device": "cpu",
        "notes": list(notes),
    }
    summary = improvement_summary(rows, protocol)
    _write_files(folder, summary, rows)
    _write_log(folder)
    (folder / "adapter").mkdir()
    (folder / "adapter" / "equiview.json").write_text(json.dumps({"format": 1, "recipe": {"steps": 120}}))
    (folder / "pictures").mkdir()
    for index, name in enumerate(objects):
        np.savez_compressed(folder / "pictures" / f"{name.replace('/', '_')}.npz", **make_picture(index))
    return folder


def write_measured(folder: Path, objects: tuple[str, ...] = OBJECTS) -> Path:
    """Write a `measure` run."""
    rows = [{k: v for k, v in row.items() if k != "variant"} for row in _rows("pretrained", 0.0, objects)]
    _write_files(folder, summarize(rows, {"features": {"blocks": [12]}, "measure": {"points": 1000}}), rows)
    return folder


def _write_files(folder: Path, summary: dict, rows: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary, allow_nan=False))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def _rows(variant: str, gain: float, objects: tuple[str, ...], views: int = 7) -> list[dict]:
    rows = []
    for index, name in enumerate(objects):
        truth = np.random.default_rng([7, index])
        noise = np.random.default_rng([8, index, sorted(GAINS).index(variant) if variant in GAINS else 9])
        for i in range(views):
            for j in range(views):
                angle = float(truth.uniform(20, 150))
                if i == j:
                    continue
                hit = np.clip(
                    58 - 0.36 * angle + 2 * index + gain * noise.uniform(0.6, 1.4) + noise.normal(0, 2), 2, 96
                )
                row = {"variant": variant, "object": name, "pair": [i, j], "angle_deg": round(angle, 3)}
                row |= {"overlap": round(1 - angle / 180, 3), "n": 400, "status": "ok"} | _scores(hit)
                row |= {"n_ambiguous": 24, "unambiguous": _scores(hit + 1.5), "in_mask": _scores(hit + 3)}
                rows.append(row)
    return rows


def _scores(hit: float) -> dict[str, float]:
    return {"ape": 22 - 0.25 * hit, "pcdp@0.05": hit, "pcdp@0.1": min(hit + 19, 99), "pcdp@0.2": min(hit + 41, 99.5)}


def _write_log(folder: Path) -> None:
    rng = np.random.default_rng(3)
    events = [{"step": s, "loss": float(0.35 + 0.5 * np.exp(-s / 40) + rng.normal(0, 0.03))} for s in range(1, 121)]
    (folder / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def make_picture(index: int) -> dict[str, np.ndarray]:
    """Return one drawn pair of views with matches, some good, some not."""
    rng = np.random.default_rng([11, index])
    rgb0, mask0 = _drawing(index, 0.0)
    shift = 0.5
    rgb1, mask1 = _drawing(index, shift)
    ys, xs = np.nonzero(mask0)
    pick = rng.choice(len(xs), POINTS, replace=False)
    xy0 = np.stack([xs[pick], ys[pick]], 1) + 0.5
    true = _turn(xy0, shift)
    worse = rng.random(POINTS)[:, None]
    before = true + rng.normal(0, 1, (POINTS, 2)) * np.where(worse < 0.35, 5, 45)
    after = true + rng.normal(0, 1, (POINTS, 2)) * np.where(worse < 0.35 + 0.08 * (4 - index), 4, 35)
    stride = SIZE / TOKENS
    centres = (np.stack(np.meshgrid(np.arange(TOKENS), np.arange(TOKENS)), -1) + 0.5) * stride
    queries = xy0[:3]
    query_true = _turn(queries, shift)
    distance = np.linalg.norm(centres[None] - query_true[:, None, None], axis=-1)
    noise = rng.normal(0, 0.05, distance.shape)
    colours = {v: np.asarray(Image.fromarray(rgb).resize((TOKENS, TOKENS))) / 255 for v, rgb in ((0, rgb0), (1, rgb1))}
    return {
        "rgb0": rgb0,
        "rgb1": rgb1,
        "mask0": mask0,
        "mask1": mask1,
        "angle_deg": np.float64(41.5),
        "xy0": xy0,
        "xy1_true": true,
        "xy1_before": np.clip(before, 0, SIZE),
        "xy1_after": np.clip(after, 0, SIZE),
        "query_xy0": queries,
        "query_xy1_true": query_true,
        "heat_before": (0.3 + 0.5 * np.exp(-distance / 90) + 2 * noise).astype(np.float16),
        "heat_after": (0.1 + 0.8 * np.exp(-distance / 40) + noise).astype(np.float16),
        "pca0_before": (1 - colours[0]).astype(np.float16),
        "pca1_before": (1 - colours[1]).astype(np.float16),
        "pca0_after": colours[0].astype(np.float16),
        "pca1_after": colours[1].astype(np.float16),
        "stride_xy": np.array([stride, stride]),
        "offset_xy": np.array([stride / 2, stride / 2]),
    }


def _turn(xy: np.ndarray, radians: float) -> np.ndarray:
    c, s = np.cos(radians), np.sin(radians)
    return (xy - SIZE / 2) @ np.array([[c, s], [-s, c]]) + SIZE / 2


def _drawing(index: int, radians: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([13, index])
    image = Image.new("RGB", (SIZE, SIZE))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((60, 50, 196, 206), 34, fill=tuple(rng.integers(90, 200, 3).tolist()))
    for _ in range(40):
        x, y, r = rng.uniform(70, 186), rng.uniform(60, 196), rng.uniform(3, 14)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.integers(30, 255, 3).tolist()))
    image = image.filter(ImageFilter.GaussianBlur(0.7)).rotate(-np.degrees(radians), Image.Resampling.BICUBIC)
    rgb = np.asarray(image)
    return rgb, rgb.sum(-1) > 60


if __name__ == "__main__":
    write_run(Path(sys.argv[1]))
