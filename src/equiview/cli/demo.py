"""`equiview demo`."""

from pathlib import Path

from . import options
from .app import app
from .common import command, examples
from .improve import WEIGHTS, shares_of, show_run
from .progress import StageProgress

NEXT = """Next, your own object with DINOv2 (--test-objects are others, to prove it on):
  equiview improve --backbone facebook/dinov2-base --train-object MESH.glb --out runs/mine \\
      --test-objects builtin:mug builtin:teapot builtin:hammer builtin:car builtin:duck"""


@app.command(
    short_help="Improve the bundled backbone on built-in objects; no files needed.",
    epilog=examples(
        "equiview demo",
        "equiview demo --out demo --device cuda --json",
    ),
)
@command
def demo(
    out: options.Out = Path("equiview-demo"),
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Adapt equiview/tiny on one built-in object and prove it on seven others; needs no files and no network."""
    from ..finetune.recipes import get_recipe
    from ..jobs.demo import RECIPE, run_demo
    from ..jobs.feature_options import quiet_transformers, resolve_device

    quiet_transformers()
    with StageProgress(shares_of(WEIGHTS, get_recipe(RECIPE))) as progress:
        summary = run_demo(out, device=resolve_device(device), seed=seed, progress=progress)
    show_run("demo", summary, out, json, NEXT)
