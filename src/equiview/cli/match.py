"""`equiview match`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import bad_input
from ..records import MatchedPoints, MatchRecord
from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress
from .transfer import parse_points

if TYPE_CHECKING:
    import numpy as np


@app.command(
    short_help="Show which places of two pictures find each other.",
    epilog=examples(
        "equiview match mug_a.jpg mug_b.jpg --backbone facebook/dinov2-base --out runs/mug",
        "equiview match mug_a.jpg mug_b.jpg --points 120,80 200,91 -b facebook/dinov2-base --out runs/mug",
        "equiview match mug_a.jpg mug_b.jpg --refine -b facebook/dinov2-base --out runs/fine",
        "equiview match a.jpg b.jpg --mask0 a_mask.png --mask1 b_mask.png -b equiview/tiny --out runs/ab",
        "equiview match a.jpg b.jpg -b facebook/dinov2-base --adapter runs/mug --points points.json --out runs/ab",
        "equiview match photos/ --to colmap -b facebook/dinov2-base --features auto --out runs/photos",
    ),
)
@command
@with_features(backbone="equiview/tiny")
def match(
    features: FeatureOptions,
    image0: Annotated[Path, typer.Argument(metavar="A", help="A picture; with --to a folder of pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for matches.png, matches.json and points.png.")],
    image1: Annotated[Path | None, typer.Argument(metavar="B", help="Another one, of any size.")] = None,
    to: Annotated[
        Literal["hloc", "colmap"] | None,
        typer.Option(
            "--to", help="Match all pairs of a folder, into hloc's feats.h5 and matches.h5 or a COLMAP database."
        ),
    ] = None,
    points: Annotated[
        list[str] | None,
        typer.Option("--points", metavar="X,Y...|FILE", help="Pixels of A to find in B, or a JSON file of them."),
    ] = None,
    mask0: Annotated[Path | None, typer.Option(help="Picture that is white where the object of A is.")] = None,
    mask1: Annotated[Path | None, typer.Option(help="The same for B.")] = None,
    check_px: Annotated[
        float | None,
        typer.Option(
            help="Keep what fits one rigid scene within so many pixels of B, by RANSAC. No check if left out."
        ),
    ] = None,
    max_shown: Annotated[int, typer.Option(min=1, help="Matches drawn; the JSON holds all.")] = 200,
    refine: options.Refine = False,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Show which places of two pictures find each other, and where given points go."""
    from ..jobs.feature_options import open_features
    from ..jobs.match import MatchConfig, match_files

    if to is not None:
        if image1 is not None or points or mask0 or mask1 or check_px is not None or refine:
            fix = "Leave out B, --points, masks, --check-px and --refine."
            raise bad_input("match --to", "one folder of pictures", "options of two pictures beside it", fix)
        _match_folder(features, image0, out, to, seed, json)
        return
    if image1 is None:
        raise bad_input("match", "two pictures", "one", "Give both, or a folder of pictures with --to hloc or colmap.")
    config, asked = MatchConfig(check_px, max_shown, refine), _points(points)
    result = match_files(open_features(features), (image0, image1), out, config, masks=(mask0, mask1), points=asked)
    wrote = [out / "matches.png", out / "matches.json", *([out / "points.png"] if "points" in result else [])]
    finish({"command": "match", **result}, wrote, json, _words(result))


def _match_folder(features: FeatureOptions, folder: Path, out: Path, to: Any, seed: int, json: bool) -> None:
    from ..jobs.feature_options import open_features
    from ..jobs.match_folder import FolderConfig, folder_pictures, match_folder

    folder_pictures(folder)
    with StageProgress() as progress:
        result = match_folder(open_features(features), folder, out, FolderConfig(to, seed=seed), progress)
    files = ["feats.h5", "matches.h5"] if to == "hloc" else ["database.db"]
    words = f"{result['matches']} matches of {result['pairs']} pairs of {result['pictures']} pictures"
    if to == "colmap":
        fits = f"{result['verified_matches']} in {result['verified_pairs']} pairs fit a geometry"
        words += (
            f"; {fits}\ncolmap mapper --database_path {out / 'database.db'} --image_path {folder} --output_path ..."
        )
    finish({"command": "match", **result}, [out / name for name in (*files, "matches.json")], json, words)


def _points(texts: list[str] | None) -> "np.ndarray | None":
    """Read `x,y` pixels, or the one file that holds them."""
    if not texts:
        return None
    import numpy as np

    from ..jobs.match import read_points

    files = [text for text in texts if text.lower().endswith(".json")]
    if files and len(texts) > 1:
        raise bad_input(
            "--points", "pixels or one JSON file", f"{len(texts)} items with a file", "Put all in the file."
        )
    return read_points(Path(files[0])) if files else np.array(parse_points(texts), np.float64).reshape(-1, 2)


def _words(result: "MatchRecord") -> str:
    scores = sorted(result["score"])
    lines = [
        f"{len(scores)} mutual matches" + (f", median similarity {scores[len(scores) // 2]:.3f}" if scores else "")
    ]
    if "checked" in result:
        lines.append(f"{sum(result['checked'])} of them fit one rigid scene")
    none: MatchedPoints = {"xy0": [], "xy1": [], "score": []}
    points = result.get("points", none)
    for (x0, y0), (x1, y1), score in zip(points["xy0"], points["xy1"], points["score"], strict=True):
        lines.append(f"{x0:g},{y0:g} -> {x1:.1f},{y1:.1f}   similarity {score:.3f}")
    return "\n".join(lines)
