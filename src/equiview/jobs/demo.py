"""The demo: `improve` on the objects and the backbone that come with the package, so that it needs no files."""

from pathlib import Path

from ..data.synthetic.builtin import TEST, TRAIN
from ..errors import bad_input
from ..finetune.recipes import get_recipe
from ..io import free_space
from ..models.backbones import TINY
from ..records import ImproveSummary
from .improve import ImproveConfig, improve
from .run_folder import Progress

TRAIN_OBJECTS = (f"builtin:{TRAIN}",)
TEST_OBJECTS = tuple(f"builtin:{name}" for name in TEST)
NEEDED_MIB = 300
RECIPE = "one-step"
NOTE = (
    f"The backbone is {TINY}, the small ViT that comes with equiview: it learned from a 2D teacher and has seen no two "
    "views of anything. Its numbers show what equiview does; those of a large pretrained model differ. The objects are "
    "made by the package."
)


def run_demo(
    out: str | Path, *, device: str = "cpu", seed: int = 0, progress: Progress | None = None
) -> ImproveSummary:
    """Adapt the bundled backbone on one built-in object, in one step, and score it on the others.

    Args:
        out: The run folder, as of `improve`.
        device: Where it runs.
        seed: Of the views and the points.
        progress: Called with (stage, done, total); stages as of `improve`.

    Returns:
        The content of summary.json (see docs/protocols.md).

    Raises:
        EquiviewError: The folder holds another run, or cannot be written.
    """
    check_space(Path(out))
    config = ImproveConfig(get_recipe(RECIPE), device=device, seed=seed, notes=(NOTE,))
    return improve(TINY, TRAIN_OBJECTS, TEST_OBJECTS, Path(out), config, progress)


def check_space(out: Path) -> None:
    """Find out before anything is written whether the demo fits on the disk.

    Raises:
        EquiviewError: It does not.
    """
    there, free = free_space(out)
    if free < NEEDED_MIB and not (out / "summary.json").exists():
        fix = "Free some space, or give --out a folder on another disk."
        raise bad_input(str(there), f"{NEEDED_MIB} MiB of free disk space", f"{free:.0f} MiB", fix)
