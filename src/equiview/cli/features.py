"""`equiview features`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .app import app
from .common import command, examples, finish, parse_blocks
from .feature_options import open_features
from .progress import StageProgress


class StoredDtype(StrEnum):
    """Type that tokens are stored in."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


@app.command(
    short_help="Write token features of pictures, and look at them in colours.",
    epilog=examples(
        "equiview features photos/ --backbone facebook/dinov2-base --out runs/photos",
        "equiview features photos/ --backbone facebook/dinov2-base --adapter runs/mug --out runs/photos-mug",
        "equiview features a.jpg b.jpg c.jpg -b equiview/tiny --no-pca --dtype float32 --out runs/abc",
    ),
)
@command
def features(
    pictures: Annotated[list[Path], typer.Argument(metavar="DIR_OR_IMAGES...", help="Folders and picture files.")],
    out: options.Out,
    backbone: options.Backbone = "equiview/tiny",
    adapter: options.Adapter = None,
    strength: options.Strength = None,
    blocks: options.Blocks = None,
    long_side: options.LongSide = None,
    thorough: options.Thorough = False,
    stride: Annotated[int | None, typer.Option(min=1, help="Patch stride; the patch size if left out.")] = None,
    pca: Annotated[bool, typer.Option("--pca/--no-pca", help="Draw PCA colours of one basis for all pictures.")] = True,
    dtype: Annotated[StoredDtype, typer.Option(help="Type the tokens are stored in.")] = StoredDtype.FLOAT16,
    random_weights: options.RandomWeights = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Write token features of pictures, and PCA pictures whose colours mean the same everywhere."""
    settings: dict[str, Any] = {
        "blocks": parse_blocks(blocks),
        "long_side": long_side,
        "thorough": thorough,
        "stride": stride,
    }
    from ..jobs.features import FeatureFilesConfig, find_pictures, write_features

    find_pictures(pictures)
    random_seed = seed if random_weights else None
    source = open_features(backbone, adapter, strength, settings, random_seed, device=device)
    with StageProgress() as progress:
        index = write_features(source, pictures, out, FeatureFilesConfig(dtype.value, pca), progress)
    wrote = [out / "index.json", out / "tokens", *([out / "pca.png", out / "pca"] if pca else [])]
    first, count = index["pictures"][0]["channels_rows_columns"], len(index["pictures"])
    words = f"{count} pictures, {first[0]} channels, {first[1]} x {first[2]} tokens in the first"
    finish({"command": "features", "index": index}, wrote, json, words)
