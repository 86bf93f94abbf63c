"""The measurements of a retention report: one for the photos, each object, block of pairs and clip, at any strength."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ...data.clips.loaders import OWN_QUERIES, open_clip_set
from ...data.contents import shown_before
from ...data.keypoints.loaders import open_pairs
from ...data.synthetic.builtin import BUILTINS
from ...data.synthetic.dead_leaves import dead_leaves
from ...errors import bad_input
from ...finetune.unlabeled_images import photo_files
from ...io import read_image
from ...metrics.pck import SCORINGS
from ...models.extractor import Picture
from ...schema import as_record
from ...tasks.equivariance import MeasureConfig, plan_object, score_object
from ...tasks.tracking import TrackingConfig
from ...tasks.transfer import TransferConfig
from ..bench.scoring import samples
from ..bench.settings import BenchConfig, Opened
from ..bench.settings import Sizes as BenchSizes
from ..bench.synthetic import open_categories, open_clips
from ..run_folder import object_name, open_objects
from ..scoring import Rows
from .drift import drift_rows
from .settings import RetentionConfig
from .strengths import AtStrength

Score = Callable[[AtStrength], Sequence[Mapping[str, Any]]]
# Seeds of drawn pictures begin here: adapters are solved on pictures with small seeds.
FIRST_DRAWN = 1_000_000
BLOCK_PAIRS = 100
# Feature maps that one block of pairs keeps, beside those before the head.
BLOCK_CACHE_MB = 256


@dataclass(frozen=True)
class Measurement:
    """A part of one task that is measured as a whole; it is finished when its rows are there.

    Attributes:
        task: Of `settings.TASKS`.
        name: Of its file of rows.
        prepare: Reads or renders it, and returns what scores the features of one strength.
    """

    task: str
    name: str
    prepare: Callable[[], Score]


def builtin_objects(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the built-in objects that an adapter was not trained on, going by its record."""
    every = tuple(f"builtin:{name}" for name in BUILTINS)
    trained = trained_among(record, every)
    return tuple(source for source in every if object_name(source) not in trained)


def trained_among(record: Mapping[str, Any], sources: Sequence[str]) -> list[str]:
    """Return the names of those objects that an adapter was trained on, under whatever name; none if it does not say.

    Raises:
        EquiviewError: An object does not open, or the record was changed.
    """
    data = record.get("data")
    if not isinstance(data, Mapping):
        return []
    return shown_before(sources, set(data.get("objects", ())), as_record(data.get("contents", {}), "data contents"))


def photo_set(config: RetentionConfig) -> tuple[list[str], Callable[[int], Picture]]:
    """Return the names of the photos, and what reads one of them.

    Raises:
        EquiviewError: The folder holds no photo, or a single one.
    """
    count = config.sizes.photos
    if config.photos is None:
        first = FIRST_DRAWN + count * config.seed
        return [f"drawn-{number}" for number in range(count)], cache(lambda number: dead_leaves(first + number))
    files = photo_files(Path(config.photos))
    if len(files) < 2:
        raise bad_input(config.photos, "two photos or more", "one", "Each is compared with the next.")
    chosen = sorted(np.random.default_rng([config.seed, 60]).permutation(len(files))[:count])
    return [files[number].name for number in chosen], lambda number: read_image(files[chosen[number]])


def drift_measurement(config: RetentionConfig) -> Measurement:
    """Return the only measurement of the drift: every strength beside strength 0."""
    return Measurement("drift", "photos", partial(_prepare_drift, config))


def _prepare_drift(config: RetentionConfig) -> Score:
    names, picture = photo_set(config)

    def score(source: AtStrength) -> Rows:
        def both() -> Iterator[Any]:
            for number, name in enumerate(names):
                shown = picture(number)
                base, adapted = (source.adjustable.map(shown, strength) for strength in (0.0, source.strength))
                yield name, (base, adapted)

        return list(drift_rows(both(), config.queries, config.seed))

    return score


def object_measurements(config: RetentionConfig, objects: Sequence[str], cache_dir: Path) -> list[Measurement]:
    """Return a measurement for each object."""
    return [
        Measurement("equivariance", object_name(one), partial(_prepare_object, config, cache_dir, one))
        for one in objects
    ]


def _prepare_object(config: RetentionConfig, cache_dir: Path, source: str) -> Score:
    measure, name = measure_config(config), object_name(source)
    views = open_objects([source], config.views, config.seed, cache_dir, _silent)[name]
    plan = plan_object(name, views, measure)
    return lambda features: score_object(plan, list(features.maps(plan.views)), measure)


def _silent(stage: str, done: int, total: int) -> None:
    """Show nothing: the bar counts objects and strengths."""


def measure_config(config: RetentionConfig) -> MeasureConfig:
    """Return the protocol of the equivariance."""
    return MeasureConfig(points=config.points, seed=config.seed)


@dataclass(frozen=True)
class Data:
    """The opened sets of transfer and tracking, with their names."""

    pairs_name: str
    pairs: Opened
    clips_name: str
    clips: Opened


def open_data(config: RetentionConfig) -> Data:
    """Read the data sets that are given, and render the others.

    Raises:
        EquiviewError: One is unknown, missing or broken.
    """
    own = config.sizes
    sizes = BenchSizes(clips=own.clips, clip=own.clip, instances=own.instances, category=own.category)
    rendered = BenchConfig(sizes=sizes, seed=config.seed)
    pairs = ("synthetic-families", open_categories(rendered)) if config.pairs is None else given_pairs(config.pairs)
    clips = ("synthetic-clips", open_clips(rendered)) if config.clips is None else given_clips(config.clips)
    return Data(*pairs, *clips)


def given_pairs(spec: str) -> tuple[str, Opened]:
    """Read the pairs of a data set, NAME:PATH."""
    name, pairs = open_pairs(spec)
    return name, Opened(pairs, TransferConfig(), SCORINGS[name])


def given_clips(spec: str) -> tuple[str, Opened]:
    """Read the clips of a data set, NAME:PATH."""
    name, clips = open_clip_set(spec, "clips")
    queries: Any = OWN_QUERIES.get(name, TrackingConfig().queries)
    return name, Opened(clips, TrackingConfig(queries))


def transfer_measurements(opened: Opened) -> list[Measurement]:
    """Return a measurement for each block of pairs."""
    pairs: Any = opened.items
    assert isinstance(opened.config, TransferConfig)
    opened = replace(opened, config=replace(opened.config, cache_mb=BLOCK_CACHE_MB))
    starts = range(0, len(pairs), BLOCK_PAIRS)
    return [_part("transfer", f"{start:06d}", opened, pairs[start : start + BLOCK_PAIRS]) for start in starts]


def clip_measurements(opened: Opened) -> list[Measurement]:
    """Return a measurement for each clip."""
    return [_part("tracking", clip.name, opened, [clip]) for clip in opened.items]


def _part(task: str, name: str, opened: Opened, items: Sequence[Any]) -> Measurement:
    """Return a measurement of some items of a data set."""
    return Measurement(task, name, partial(_prepare_part, replace(opened, items=items)))


def _prepare_part(opened: Opened) -> Score:
    return lambda source: [row for rows in samples(source, opened) for row in rows]
