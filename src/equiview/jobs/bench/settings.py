"""What a bench is asked to do, and what a data set looks like to it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...data.synthetic.categories import CategoryWorld
from ...data.synthetic.clips import ClipWorld
from ...data.synthetic.pose import PoseWorld
from ...errors import bad_input
from ...metrics.pck import Scoring
from ...tasks.pose import PoseConfig
from ...tasks.recall import RecallConfig
from ...tasks.tracking import TrackingConfig
from ...tasks.transfer import TransferConfig

Task = Literal["pose", "track", "transfer", "recall"]
TASKS: tuple[Task, ...] = ("pose", "track", "transfer", "recall")
# What a bench runs when nothing is said; recall is asked for.
USUAL_TASKS: tuple[Task, ...] = ("pose", "track", "transfer")
SUITES = ("synthetic", "real")
LONG_SIDE = 640


@dataclass(frozen=True)
class Sizes:
    """How much of the synthetic worlds is rendered.

    Attributes:
        scenes: Pose scenes, each another object.
        conditions: Of the pose queries, see `data.synthetic.rendered.CONDITIONS`; one data set each.
        pose: What a pose scene looks like (background, occluders and light come from the condition).
        clips: How many.
        clip: What they look like.
        instances: Of each category of objects.
        category: What their pictures look like.
        recall_objects: Objects whose views are matched.
        recall_views: Of each, evenly around it.
        recall_hw: Their size, pixels.
    """

    scenes: int = 5
    conditions: tuple[str, ...] = ("clutter",)
    pose: PoseWorld = PoseWorld(references=12, queries=4, hw=(256, 256))
    clips: int = 5
    clip: ClipWorld = ClipWorld(frames=10)
    instances: int = 3
    category: CategoryWorld = CategoryWorld(hw=(256, 256))
    recall_objects: int = 5
    # No step of 17 around a circle lies on the edge of a bin of rotations.
    recall_views: int = 17
    recall_hw: tuple[int, int] = (256, 256)


SIZES = {
    "small": Sizes(),
    "full": Sizes(10, ("clutter", "occluders", "lighting"), PoseWorld(), 10, ClipWorld(), 6, CategoryWorld(), 10),
}


@dataclass(frozen=True)
class BenchConfig:
    """What is run.

    Attributes:
        suite: `synthetic` (rendered, nothing to download) or `real` (what lies under `root`).
        tasks: Some of `TASKS`.
        root: Where real data sets are looked for, three levels deep.
        sizes: Of the synthetic suite.
        seed: Which synthetic objects, and RANSAC's samples.
        long_side: Pictures are resized to this; None is each data set's own (640, videos of real data 854).
        protocol: A published one, see `published`: its data sets of the tasks are measured, with its settings.
    """

    suite: Literal["synthetic", "real"] = "synthetic"
    tasks: tuple[Task, ...] = USUAL_TASKS
    root: str | None = None
    sizes: Sizes = SIZES["small"]
    seed: int = 0
    long_side: int | None = None
    protocol: str | None = None

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise bad_input("suite", " or ".join(SUITES), repr(self.suite), "Check the spelling.")
        unknown = [task for task in self.tasks if task not in TASKS]
        if unknown or not self.tasks or len(set(self.tasks)) < len(self.tasks):
            found = ", ".join(map(repr, unknown or self.tasks)) or "none"
            raise bad_input("tasks", f"some of {', '.join(TASKS)}, each once", found, "Check the spelling.")
        if (self.suite == "real") != (self.root is not None):
            expected, found = ("a folder", "none") if self.suite == "real" else ("none", str(self.root))
            fix = "Give the folder that holds the data sets, or leave both --suite real and --root out."
            raise bad_input(f"root of the {self.suite} suite", expected, found, fix)
        if self.protocol is not None and (self.suite != "real" or self.long_side is not None):
            found = self.suite if self.suite != "real" else f"a long side of {self.long_side} px"
            fix = "Add --suite real --root ROOT, and leave --long-side to the protocol."
            raise bad_input("protocol", "the real suite, and no size of its own", found, fix)


@dataclass(frozen=True)
class Opened:
    """A data set that is there.

    Attributes:
        items: Scenes, clips, pairs or `ViewPairs`; can be gone through more than once.
        config: The task's protocol.
        scoring: Of transfer.
        long_side: Pictures are resized to this.
    """

    items: Iterable[Any]
    config: PoseConfig | TrackingConfig | TransferConfig | RecallConfig
    scoring: Scoring | None = None
    long_side: int = LONG_SIDE


@dataclass(frozen=True)
class Found:
    """A data set that will be measured.

    Attributes:
        task: Of which task.
        name: Its name in summaries.
        open: Reads or renders it.
    """

    task: Task
    name: str
    open: Callable[[], Opened]


@dataclass(frozen=True)
class Again(Iterable[Any]):
    """Items that are read anew every time someone goes through them, so that they are never all in memory."""

    read: Callable[[], Iterable[Any]]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read())


@dataclass(frozen=True)
class Dataset:
    """A real data set that may be there.

    Attributes:
        task: Of which task.
        where: Where to get it.
        layout: How it must lie under the root.
        find: Says whether a folder is (or holds) it, and returns what `open` takes.
        open: Reads it.
    """

    task: Task
    where: str
    layout: str
    find: Callable[[Path], Path | None]
    open: Callable[[Path], Opened]
