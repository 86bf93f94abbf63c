"""Options that several commands share, so that they read the same everywhere."""

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..limits import MAX_POINTS, MAX_SIDE, MAX_VIEWS


def seconds_or_none(text: str) -> float:
    """Read a time limit: seconds, or `none`, which is infinity.

    Raises:
        typer.BadParameter: It is neither.
    """
    if text.lower() == "none":
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise typer.BadParameter(f"expected seconds, 0 or more, or none; found {text!r}")
    return seconds


BACKBONE_HELP = (
    "equiview/tiny (comes with equiview), hub id (facebook/dinov2-base), folder of a transformers model, timm:NAME "
    "or hub:REPO:ENTRY."
)
OBJECT_HELP = (
    "Mesh files (glb, gltf, obj, ply; up is y in glTF, z in OBJ and PLY, else MESH@up=y or MESH@up=z), builtin:NAME, "
    "procedural:SEED, household:SEED, folders written by render, captures (COLMAP, nerfstudio, RGB-D, BOP ...; "
    "CAPTURE@0::2 is every second image), folders of photos, or videos."
)
LISTS_HELP = (
    f"{OBJECT_HELP} Also folders of meshes (Objaverse's glbs/000-xxx/UID.glb) and text files with a path or id in each "
    "line, of which broken ones are counted and left out."
)

Backbone = Annotated[str, typer.Option("--backbone", "-b", help=BACKBONE_HELP)]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write to. An unfinished run there is resumed.")]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps; auto is CUDA where there is one.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="The same seed gives the same result.")]
Refine = Annotated[
    bool,
    typer.Option(
        "--refine/--no-refine",
        help="Look again, closer, at the part of each picture that holds the matches: finer places for twice the time.",
    ),
]
Fine = Annotated[
    bool, typer.Option("--fine/--no-fine", help="Put the same features without their averages beside averaged ones.")
]
Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout, and nothing else.")]
Rerun = Annotated[
    bool, typer.Option("--rerun", help="Write a recording (.rrd) that rerun shows in 3D too; needs equiview[rerun].")
]
Views = Annotated[int, typer.Option("--views", min=2, max=MAX_VIEWS, help="Views of each object.")]
Recipe = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="default, one-step, thorough; own-object for other views of the same object or scene; lora-and-head, "
        "wiener, paper, lora-only.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE...", help="Change the recipe: key=value, such as lora.rank=8."),
]
Budget = Annotated[
    float | None,
    typer.Option(
        parser=seconds_or_none,
        metavar="SECONDS|none",
        help="Seconds from meshes to the adapter, in place of the recipe's; one-step takes none.",
    ),
]
Photos = Annotated[
    Path | None,
    typer.Option(help="Folder of unlabeled photos, which heads are solved or held on; pictures are drawn if left out."),
]
Blocks = Annotated[
    str | None, typer.Option("--blocks", help="Blocks to concatenate, from 1: 4,6,8,10. The last one if left out.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="PRESET",
        help="Blocks and fixed head: a file or folder of equiview choose, auto (those measured for this backbone, else "
        "chosen on first use and kept), deit-tiny, equiview-tiny or dinov2-class.",
    ),
]
RecipeFeatures = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="PRESET",
        help="Blocks and fixed head under what is learned: as of other commands, or recipe for the recipe's own. If "
        "left out, those measured for the backbone, else chosen on first use and kept; recipes of the last block keep "
        "it.",
    ),
]
ADAPTER_HELP = "Adapter folder, run folder of improve, or OWNER/NAME[@REVISION] on the hub; a local folder comes first."
Adapter = Annotated[Path | None, typer.Option("--adapter", help=ADAPTER_HELP)]
Strength = Annotated[
    float | None,
    typer.Option(
        "--strength",
        min=0,
        max=1,
        help="How much of --adapter is applied: 0 gives the pretrained features, 1 the fully adapted ones; as saved if "
        "left out.",
    ),
]
LongSide = Annotated[
    int | None, typer.Option("--long-side", min=16, max=MAX_SIDE, help="Images are resized to this; 640 if left out.")
]
Thorough = Annotated[
    bool,
    typer.Option("--thorough", help="See pictures in three sizes and mirrored, as that recipe does: 7 times the work."),
]
RandomWeights = Annotated[bool, typer.Option("--random-weights", help="Random weights, drawn from --seed.")]
WeightsDtype = Annotated[Literal["float32", "bfloat16"], typer.Option("--dtype", help="Type of the weights.")]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|process:N|ray[:ADDRESS]",
        help="Where units (objects, scenes, clips, blocks of pairs, pictures) are worked on: in this process, in N "
        "processes, or on a Ray cluster (extra ray). Results are the same.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Only every N-th unit from the I-th; equiview merge puts the folders together."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Do a few units, say what time, disk and memory the whole run will take, and stop."),
]
Points = Annotated[int, typer.Option("--points", min=1, max=MAX_POINTS, help="Surface points sampled in each view.")]
