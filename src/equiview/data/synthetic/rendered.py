"""The synthetic data sets by name: rendered when asked for, the same from a seed, every truth exact."""

from collections.abc import Callable, Mapping

from ...errors import bad_input
from ...types import Clip, KeypointPair, PoseScene
from .categories import category_pairs
from .clips import clips
from .pose import CONDITIONS, pose_scenes

# Objects to score on are never objects to train on: `procedural:SEED` with small seeds is what examples train on.
FIRST_SEED, SEEDS_PER_SET = 10_000, 100


def synthetic_pose(seed: int = 0, count: int = 5, condition: str = "clutter") -> list[PoseScene]:
    """Return pose scenes.

    Args:
        seed: Another seed, other objects.
        count: How many scenes, 1 to 100.
        condition: `plain`, `clutter`, `occluders`, `lighting` or `noise` (of the references' cameras); the objects and
            viewpoints are the same in all.

    Raises:
        EquiviewError: A count or condition that is not there.
    """
    if condition not in CONDITIONS:
        raise bad_input("condition", f"one of {', '.join(CONDITIONS)}", repr(condition), "Check the spelling.")
    return pose_scenes(set_seeds(seed, count), CONDITIONS[condition])


def synthetic_clips(seed: int = 0, count: int = 5) -> list[Clip]:
    """Return clips with exact tracks, 24 frames of 256x256 px each; arguments as in `synthetic_pose`."""
    return clips(set_seeds(seed, count))


def synthetic_categories(seed: int = 0, count: int = 5) -> list[KeypointPair]:
    """Return key point pairs of five categories with `count` (2 to 100) instances each, see `category_pairs`."""
    return category_pairs(set_seeds(seed, count))


Loader = Callable[[int, int], list[PoseScene] | list[Clip] | list[KeypointPair]]
SYNTHETIC: Mapping[str, Loader] = {
    "synthetic-pose": synthetic_pose,
    "synthetic-clips": synthetic_clips,
    "synthetic-families": synthetic_categories,
}


def set_seeds(seed: int, count: int) -> range:
    """Return the seeds of the objects of one set; sets of different seeds share none.

    Raises:
        EquiviewError: A negative seed, or a count beyond 1 to 100.
    """
    if seed < 0:
        raise bad_input("seed", "0 or more", str(seed), "Choose another seed.")
    if not 1 <= count <= SEEDS_PER_SET:
        raise bad_input("count", f"1 to {SEEDS_PER_SET}", str(count), "5 is the default.")
    first = FIRST_SEED + SEEDS_PER_SET * seed
    return range(first, first + count)
