"""`equiview capture`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .. import limits
from . import options
from .app import app
from .common import command, examples, finish
from .progress import StageProgress

EXIT_FAILED = 1
_WEIGHTS = {"pictures": 1.0, "features": 3.0, "matches": 4.0, "cameras": 3.0}
_WEIGHTS_GIVEN = {"pictures": 1.0, "features": 3.0, "matches": 4.0, "epipolar check": 0.5, "points": 1.0}


@app.command(
    short_help="Make a capture (cameras, points) of your photos or video.",
    epilog=examples(
        "equiview capture photos/ --out captures/mug",
        "equiview capture walk.mp4 --frames 60 --out captures/mug",
        "equiview capture scene_with_transforms_json/ --poses given --out captures/fox",
        "equiview capture scene_with_transforms_json/ --poses recover --out captures/fox_recovered",
    ),
)
@command
def capture(
    source: Annotated[Path, typer.Argument(metavar="DIR_OR_VIDEO", help="Photos, a video, or a scene with poses.")],
    out: options.Out,
    frames: Annotated[
        int, typer.Option(min=2, max=limits.MAX_FRAMES, help="Use so many pictures of a video or long folder at most.")
    ] = 80,
    long_side: Annotated[
        int, typer.Option(min=64, max=limits.MAX_SIDE, help="Larger pictures are shrunk to this, pixels.")
    ] = 1600,
    camera: Annotated[
        Literal["single", "each"],
        typer.Option(help="single: one device, one zoom (a camera for each picture size); each: not."),
    ] = "single",
    poses: Annotated[
        Literal["auto", "given", "recover"],
        typer.Option(help="given: keep the poses the folder has; recover: ignore them; auto: given if any."),
    ] = "auto",
    threads: Annotated[int, typer.Option(min=-1, max=1024, help="CPU threads; -1 is all. One repeats exactly.")] = -1,
    rerun: options.Rerun = False,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Make a capture of your photos or video: a standard COLMAP folder, with a verdict on it.

    Needs pycolmap (pip install 'equiview[colmap]'). Exits with 1 when nothing usable came out; capture.json and the
    last lines say why, and what to photograph differently.
    """
    from ..data.sfm import CaptureConfig, ColmapConfig
    from ..jobs.capture import layout_of, make_capture, write_recording
    from ..report.terminal import capture_table, capture_words

    if rerun:
        from ..formats.rerun_file import import_rerun

        import_rerun()
    config = CaptureConfig(frames, long_side, camera, ColmapConfig(seed=seed % 2**31, threads=threads or -1))
    layout = layout_of(source, poses)
    keep = layout is not None and poses != "recover"
    with StageProgress(_WEIGHTS_GIVEN if keep else _WEIGHTS) as progress:
        about = make_capture(source, out, config, layout=layout, keep=keep, progress=progress)
    wrote = [out / "images", out / "masks", out / "sparse" / "0", out / "capture.json"]
    failed = about["verdict"]["grade"] == "failed"
    if rerun and not failed:
        wrote.append(write_recording(out))
    there = [path for path in wrote if path.exists()]
    finish({"command": "capture", **about}, there, json, capture_table(about), capture_words(about))
    if failed:
        raise typer.Exit(EXIT_FAILED)
