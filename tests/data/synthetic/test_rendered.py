"""The sets by name: quick enough to be rendered on the spot, from seeds that nothing else uses."""

import time

import pytest

from equiview.data.synthetic import rendered as synthetic
from equiview.data.synthetic.procedural import procedural_mesh
from equiview.data.synthetic.rendered import SYNTHETIC, set_seeds, synthetic_pose
from equiview.errors import EquiviewError
from equiview.types import Clip, KeypointPair, PoseScene

# One of five objects must take less processor time than this: a default set is well under a minute.
LIMIT_S = 10.0


@pytest.mark.parametrize(
    ("name", "count", "kind", "n"),
    [("synthetic-pose", 1, PoseScene, 1), ("synthetic-clips", 1, Clip, 1), ("synthetic-families", 2, KeypointPair, 10)],
)
def test_a_set_is_rendered_quickly(name, count, kind, n):
    procedural_mesh.cache_clear()
    started = time.process_time()
    items = SYNTHETIC[name](0, count)
    assert (time.process_time() - started) / count < LIMIT_S
    assert len(items) == n and all(isinstance(item, kind) for item in items)
    assert len({item.name for item in items}) == n


def test_sets_of_different_seeds_share_no_object():
    assert not set(set_seeds(0, 100)) & set(set_seeds(1, 100))
    assert min(set_seeds(0, 5)) > 1000
    assert [*set_seeds(3, 2)] == [*set_seeds(3, 5)][:2]


@pytest.mark.parametrize(("seed", "count"), [(-1, 5), (0, 0), (0, 101)])
def test_seeds_and_counts_are_checked(seed, count):
    with pytest.raises(EquiviewError, match="expected"):
        set_seeds(seed, count)


def test_an_unknown_condition_is_refused():
    with pytest.raises(EquiviewError, match="condition"):
        synthetic_pose(0, 1, "fog")


def test_the_condition_reaches_the_scenes(monkeypatch):
    asked = []
    monkeypatch.setattr(synthetic, "pose_scenes", lambda seeds, world: asked.append((list(seeds), world)) or [])
    synthetic_pose(2, 2, "occluders")
    assert asked == [([10_200, 10_201], synthetic.CONDITIONS["occluders"])]
