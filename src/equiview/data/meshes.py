"""Objects by name: a mesh file, an object made at run time, or a folder of views."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..errors import bad_input
from ..io import file_name
from ..render import Mesh, RenderConfig, ViewStore, load_mesh, normalize, open_views, render_views
from ..render.mesh import Up, default_up
from ..render.rigs import paper_subset
from ..types import Camera
from .names import is_made, split_up
from .synthetic.builtin import BUILTINS, builtin_mesh
from .synthetic.household import household_mesh
from .synthetic.procedural import procedural_mesh

_SEED = re.compile(r"0|[1-9][0-9]{0,17}")
_FROM_SEED: dict[str, Callable[[int], Mesh]] = {"procedural": procedural_mesh, "household": household_mesh}


def open_object(
    source: str | Path,
    *,
    n_views: int = 12,
    config: RenderConfig | None = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ViewStore:
    """Return the views of an object, drawn if need be, from the paper's rig.

    Args:
        source: Path of a mesh (`mug.obj@up=y` where y points up), "builtin:NAME", "procedural:SEED", "household:SEED",
            or a folder that `equiview render` wrote.
        n_views: 42 is the whole rig in its order, fewer the first of a random permutation of it. From a folder, the
            first `n_views` of what is stored (all, if there are fewer).
        config: How to draw; None is the default. A folder keeps what it was drawn with.
        seed: Of the permutation.
        cache_dir: Folder under which drawn views are kept for the next time; None keeps them in memory.
        progress: Called with (views done, views in all).

    Returns:
        The views; object coordinates have the longest side 1 and the centre at the origin. The name is the file's
        stem, "builtin-NAME", "procedural-SEED", "household-SEED", or the stored name.

    Raises:
        EquiviewError: No such source, or an unusable one.
    """
    if not is_made(source) and Path(source).is_dir():
        return _first(open_views(source), n_views)
    cameras = paper_subset(n_views, (config or RenderConfig()).hw, seed)
    mesh = open_mesh(source)
    config = config or RenderConfig()
    folder = None if cache_dir is None else Path(cache_dir) / f"{file_name(mesh.name)}-{_key(mesh, cameras, config)}"
    return render_views(mesh, cameras, config, folder, progress)


def open_mesh(source: str | Path) -> Mesh:
    """Return a mesh file, "builtin:NAME", "procedural:SEED" or "household:SEED" as a normalised mesh with +z up.

    What follows the name of a file, as in `mug.obj@up=y`, says which of its axes points up; see `load_mesh`.

    Raises:
        EquiviewError: No such file or object, an unusable file, or a seed that is not a number.
    """
    path, up = split_up(source)
    if not is_made(source):
        return normalize(load_mesh(path, up))
    kind, name = check_made(source)
    return builtin_mesh(name) if kind == "builtin" else _FROM_SEED[kind](int(name))


def axis_up(source: str | Path) -> Up:
    """Return which axis of an object points up where it is stored: what records keep of the choice."""
    path, up = split_up(source)
    return "z" if is_made(source) else up or default_up(path)


def check_made(source: str | Path) -> tuple[str, str]:
    """Return the kind and the name or seed of an object made at run time, without making it.

    Raises:
        EquiviewError: There is no such object.
    """
    kind, _, name = str(source).partition(":")
    if kind == "builtin" and name not in BUILTINS:
        raise bad_input(str(source), f"builtin: and one of {', '.join(BUILTINS)}", repr(name), "Use builtin:mug.")
    if kind in _FROM_SEED and not _SEED.fullmatch(name):  # One way to write a seed: one name for one object.
        expected = f"{kind}:SEED with a whole number of at most 18 digits, without zeros before it"
        raise bad_input(str(source)[:80], expected, repr(name[:40]), f"Use {kind}:0.")
    return kind, name


def _first(views: ViewStore, n_views: int) -> ViewStore:
    if n_views >= len(views):
        return views
    return views.first(n_views)


def _key(mesh: Mesh, cameras: list[Camera], config: RenderConfig) -> str:
    """Short hash of all that decides the pictures, so that one cache folder serves every setting."""
    digest = hashlib.sha256(mesh.sha256.encode())
    digest.update(json.dumps(asdict(config)).encode())
    for camera in cameras:
        digest.update(camera.cam_from_world.tobytes() + camera.intrinsics.tobytes())
    return digest.hexdigest()[:16]
