"""`equiview capture`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .app import app
from .common import command, examples, finish
from .progress import StageProgress

if TYPE_CHECKING:
    from rich.table import Table

EXIT_FAILED = 1
_WEIGHTS = {"pictures": 1.0, "features": 3.0, "matches": 4.0, "cameras": 3.0}
_WEIGHTS_GIVEN = {"pictures": 1.0, "features": 3.0, "matches": 4.0, "epipolar check": 0.5, "points": 1.0}


class CameraSharing(StrEnum):
    """Which pictures share a camera."""

    SINGLE = "single"
    EACH = "each"


class Poses(StrEnum):
    """Where cameras come from."""

    AUTO = "auto"
    GIVEN = "given"
    RECOVER = "recover"


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
    frames: Annotated[int, typer.Option(min=2, help="Use so many pictures of a video or long folder at most.")] = 80,
    long_side: Annotated[int, typer.Option(min=64, help="Larger pictures are shrunk to this, pixels.")] = 1600,
    camera: Annotated[
        CameraSharing, typer.Option(help="single: one device, one zoom (a camera for each picture size); each: not.")
    ] = CameraSharing.SINGLE,
    poses: Annotated[
        Poses, typer.Option(help="given: keep the poses the folder has; recover: ignore them; auto: given if any.")
    ] = Poses.AUTO,
    threads: Annotated[int, typer.Option(min=-1, help="CPU threads; -1 is all. One repeats exactly.")] = -1,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Make a capture of your photos or video: an ordinary COLMAP folder, with a verdict on it.

    Needs pycolmap (pip install 'equiview[colmap]'). Exits with 1 when nothing usable came out; capture.json and the
    last lines say why, and what to photograph differently.
    """
    from ..data.sfm import CaptureConfig, ColmapConfig

    config = CaptureConfig(frames, long_side, camera.value, ColmapConfig(seed=seed % 2**31, threads=threads or -1))
    kind = _kind(source, poses)
    keep = kind is not None and poses is not Poses.RECOVER
    with StageProgress(_WEIGHTS_GIVEN if keep else _WEIGHTS) as progress:
        about = _keep_poses(source, out, config, progress) if keep else _recover(source, out, config, progress, kind)
    wrote = [path for path in (out / "images", out / "masks", out / "sparse" / "0", out / "capture.json")]
    finish({"command": "capture"} | about, [p for p in wrote if p.exists()], json, _table(about), _words(about))
    if about["verdict"]["grade"] == "failed":
        raise typer.Exit(EXIT_FAILED)


def _kind(source: Path, poses: Poses) -> str | None:
    """Return the layout of a folder that has poses."""
    from ..data.captures.opening import LAYOUTS, capture_kind
    from ..errors import bad_input

    kind = capture_kind(source)
    if kind is None and poses is Poses.GIVEN:
        layouts = "; ".join(layout.words for layout in LAYOUTS.values())
        fix = "Leave out --poses given to recover the cameras from the pictures."
        raise bad_input(str(source), f"a folder with poses ({layouts})", "none", fix)
    return kind


def _keep_poses(source: Path, out: Path, config: Any, progress: StageProgress) -> dict[str, Any]:
    from ..data.captures.opening import open_capture
    from ..data.sfm import capture_with_poses

    given = open_capture(source, long_side=config.long_side)
    return capture_with_poses(given, source, out, config, progress)


def _recover(source: Path, out: Path, config: Any, progress: StageProgress, kind: str | None) -> dict[str, Any]:
    from ..data.captures.opening import open_capture
    from ..data.sfm import capture_from_pictures, compare_with_given

    about = capture_from_pictures(source, out, config, progress)
    if kind is not None and about["verdict"]["grade"] != "failed":
        about = about | {"compared_with_given": compare_with_given(out, open_capture(source))}
    return about


def _table(about: dict[str, Any]) -> "Table":
    from rich.table import Table

    found = about["statistics"]
    table = Table(box=None, show_header=False, pad_edge=False)
    registered = f"{found['images_registered']} of {found['images_given']}"
    rows = [("images with a camera" if about["poses"] == "recovered" else "images (poses given)", registered)]
    rows += [("points", str(found["points"])), ("observations", str(found["observations"]))]
    if found["points"]:
        rows.append(("images that see a point", f"{found['mean_track_length']:.2f} on average"))
        rows.append(("median reprojection error", f"{found['median_error_px']:.3f} px"))
        rows.append(("median ray angle of a point", f"{found['median_angle_deg']:.1f} degrees"))
        rows.append(("circle around it seen", f"{100 * found['circle_seen']:.0f} %"))
    if found["matches_fitting"] is not None:
        rows.append(("matches that fit the poses", f"{100 * found['matches_fitting']:.0f} %"))
    compared = about.get("compared_with_given")
    if compared:
        rotation = (compared["rotation_error_deg_median"], compared["rotation_error_deg_max"])
        position = (compared["position_error_percent_median"], compared["position_error_percent_max"])
        rows.append(("rotation against given poses", "median {:.3f}, largest {:.3f} degrees".format(*rotation)))
        rows.append(("position against given poses", "median {:.3f}, largest {:.3f} % of the scene".format(*position)))
    rows.append(("verdict", about["verdict"]["grade"]))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _words(about: dict[str, Any]) -> str | None:
    verdict = about["verdict"]
    lines = [*verdict["reasons"], *(f"Next time: {advice}" for advice in verdict["advice"])]
    return "\n".join([*about.get("notes", []), *lines]) or None
