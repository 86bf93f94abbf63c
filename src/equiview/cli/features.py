"""`equiview features`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress


@app.command(
    "features",
    short_help="Write token features of pictures, and look at them in colours.",
    epilog=examples(
        "equiview features photos/ --backbone facebook/dinov2-base --out runs/photos",
        "equiview features photos/ --backbone facebook/dinov2-base --adapter runs/mug --out runs/photos-mug",
        "equiview features a.jpg b.jpg c.jpg -b equiview/tiny --no-pca --dtype float32 --out runs/abc",
    ),
)
@command
@with_features("stride", backbone="equiview/tiny", without=("dtype",))
def write_features(
    features: FeatureOptions,
    pictures: Annotated[list[Path], typer.Argument(metavar="DIR_OR_IMAGES...", help="Folders and picture files.")],
    out: options.Out,
    pca: Annotated[bool, typer.Option("--pca/--no-pca", help="Draw PCA colours of one basis for all pictures.")] = True,
    to: Annotated[
        Literal["hloc"] | None, typer.Option("--to", help="Write hloc's feats.h5 of one folder's pictures instead.")
    ] = None,
    dtype: Annotated[Literal["float16", "float32"], typer.Option(help="Type the tokens are stored in.")] = "float16",
    engine: options.Engine = "local",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Write token features of pictures, and PCA pictures whose colours mean the same everywhere."""
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import open_features
    from ..jobs.features import FeatureFilesConfig, find_pictures
    from ..jobs.features import write_features as write

    find_pictures(pictures)
    if to == "hloc":
        from ..jobs.features import write_hloc_features

        with StageProgress() as progress:
            count = write_hloc_features(open_features(features), pictures, out, progress)
        said = f"Key points and descriptors of {count} pictures"
        finish({"command": "features", "to": to, "pictures": count}, [out / "feats.h5"], json, said)
        return
    where = parse_engine(engine)
    source = open_features(features)
    with StageProgress() as progress:
        index = write(source, pictures, out, FeatureFilesConfig(dtype, pca), progress, where)
    wrote = [out / "index.json", out / "tokens", *([out / "pca.png", out / "pca"] if pca else [])]
    first, count = index["pictures"][0]["channels_rows_columns"], len(index["pictures"])
    words = f"{count} pictures, {first[0]} channels, {first[1]} x {first[2]} tokens in the first"
    finish({"command": "features", "index": index}, wrote, json, words)
