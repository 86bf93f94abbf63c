"""`equiview finetune`."""

from . import options
from .app import app
from .common import command, examples, finish
from .improve import Auxiliary, TrainObjects, recipe_and_budget, shares_of
from .progress import StageProgress


@app.command(
    short_help="Make an adapter from one object, several, or none of your own.",
    epilog=examples(
        "equiview finetune --backbone facebook/dinov2-base --train-object mug.glb --out runs/adapter",
        "equiview finetune --backbone facebook/dinov2-base --train-object mug.glb --out runs/paper \\",
        "    --recipe paper --set steps=50 lora.rank=8",
        "equiview finetune --backbone facebook/dinov2-base --recipe general --out runs/general",
    ),
)
@command
def finetune(
    backbone: options.Backbone,
    out: options.Out,
    train_objects: TrainObjects = None,
    auxiliary: Auxiliary = None,
    recipe: options.Recipe = "default",
    features: options.RecipeFeatures = None,
    settings: options.Set = None,
    views: options.Views = 12,
    budget: options.Budget = None,
    photos: options.Photos = None,
    dtype: options.WeightsDtype = "float32",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Make an adapter from one object or several, without measuring it."""
    from ..jobs.feature_options import quiet_transformers, resolve_device
    from ..jobs.finetune import ImproveConfig
    from ..jobs.finetune import finetune as run

    quiet_transformers()
    own = train_objects or []
    chosen, changes, budget_s = recipe_and_budget(recipe, settings, budget, auxiliary, own)
    config = ImproveConfig(
        recipe=chosen,
        views=views,
        photos=None if photos is None else str(photos),
        budget_s=budget_s,
        device=resolve_device(device),
        dtype=dtype,
        seed=seed,
        features=features,
        changes=changes,
    )
    weights = {"render": 0.2, "train network": 0.4, "solve": 0.4, "train": 0.4}
    with StageProgress(shares_of(weights, config.recipe)) as progress:
        adapter = run(backbone, own, out, config, progress)
    words = f'Load it with equiview.load("{backbone}", adapter="{out}"). What it is worth is not known yet: measure it.'
    finish({"command": "finetune", "adapter": str(adapter)}, [adapter], json, words)
