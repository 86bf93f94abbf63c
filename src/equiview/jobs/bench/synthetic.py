"""The rendered data sets of the bench: nothing to download, every truth exact."""

from dataclasses import replace
from functools import partial

from ...data.synthetic.categories import category_pairs
from ...data.synthetic.clips import clips
from ...data.synthetic.pose import pose_scenes
from ...data.synthetic.rendered import CONDITIONS, set_seeds
from ...errors import bad_input
from ...metrics.pck import Scoring
from ...tasks.pose import PoseConfig, seeded
from ...tasks.tracking import TrackingConfig
from ...tasks.transfer import TransferConfig
from .recall_sets import open_rendered
from .settings import BenchConfig, Found, Opened

# The usual score of semantic sets that have boxes.
SCORING = Scoring("box", "pair")


def synthetic_sets(config: BenchConfig) -> list[Found]:
    """Return the data sets of the tasks asked for; nothing is rendered yet.

    Raises:
        EquiviewError: An unknown condition.
    """
    unknown = sorted(set(config.sizes.conditions) - set(CONDITIONS))
    if unknown:
        raise bad_input("conditions", f"some of {', '.join(CONDITIONS)}", ", ".join(unknown), "Check the spelling.")
    sets = [Found("pose", f"synthetic-{name}", partial(open_pose, config, name)) for name in config.sizes.conditions]
    sets.append(Found("track", "synthetic-clips", partial(open_clips, config)))
    sets.append(Found("transfer", "synthetic-families", partial(open_categories, config)))
    sets.append(Found("recall", "synthetic-ring", partial(open_rendered, config)))
    return [data_set for task in config.tasks for data_set in sets if data_set.task == task]


def open_pose(config: BenchConfig, condition: str) -> Opened:
    """Render the scenes of one condition."""
    sizes = config.sizes
    size = {name: getattr(sizes.pose, name) for name in ("references", "queries", "hw", "size_cm")}
    scenes = pose_scenes(set_seeds(config.seed, sizes.scenes), replace(CONDITIONS[condition], **size))
    return Opened(scenes, seeded(PoseConfig(), config.seed))


def open_clips(config: BenchConfig) -> Opened:
    """Render the clips."""
    return Opened(clips(set_seeds(config.seed, config.sizes.clips), config.sizes.clip), TrackingConfig())


def open_categories(config: BenchConfig) -> Opened:
    """Render the categories and pair their instances."""
    pairs = category_pairs(set_seeds(config.seed, config.sizes.instances), config.sizes.category)
    return Opened(pairs, TransferConfig(), SCORING)
