"""The package's own objects: the same every time, whole, without a thin or empty picture, and well posed."""

import numpy as np
import pytest

from equiview.data.meshes import open_mesh, open_object
from equiview.data.synthetic import builtin
from equiview.data.synthetic.solids import block, place, tube, turned
from equiview.errors import EquiviewError
from equiview.jobs.run_folder import check_sources, object_name
from equiview.render import RenderConfig

CUP = [(0, 0.5), (0.3, 0.5), (0.3, -0.5), (0, -0.5)]
PARTS = {
    "turned": turned(CUP, 0.7),
    "block": block((1.0, 0.5, 0.4)),
    "ball": block((1.0, 1.0, 1.0), 1.0),
    "tube": tube([(0, 0, 0), (0.5, 0, 0.2), (1, 0, 0)], [0.1, 0.2, 0.05]),
    "straight": tube([(0, 0, 0), (1, 0, 0)], [0.1, 0.1]),
    "placed": place(turned(CUP), (1, 2, 3), "x", 30),
}


def test_there_is_one_to_train_on_and_five_or_more_to_test_on():
    assert builtin.TRAIN not in builtin.TEST and len(builtin.TEST) >= 5
    assert {builtin.TRAIN, *builtin.TEST} == set(builtin.BUILTINS)


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_closed_and_face_outwards(name):
    """The volume by the divergence theorem is positive only when triangles are counter-clockwise from outside."""
    from equiview.data.synthetic.grid_mesh import grid_faces

    grid = PARTS[name]
    assert np.isfinite(grid).all()
    assert np.array_equal(grid[:, 0], grid[:, -1])
    assert np.ptp(grid[0], axis=0).max() == 0 and np.ptp(grid[-1], axis=0).max() == 0
    a, b, c = (grid.reshape(-1, 3)[grid_faces(*grid.shape[:2])[:, i]] for i in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    expected = {"ball": np.pi / 6, "turned": np.pi * 0.09 * 0.7, "placed": np.pi * 0.09, "straight": np.pi * 0.01}
    assert volume > 0
    if name in expected:
        assert volume == pytest.approx(expected[name], rel=0.1)


@pytest.mark.parametrize("name", ["mug", "hammer"])
def test_the_same_object_every_time(name):
    again = builtin.builtin_mesh.__wrapped__(name)  # Made once more, not the one that is kept.
    assert again is not builtin.builtin_mesh(name) and again.sha256 == open_mesh(f"builtin:{name}").sha256


@pytest.mark.parametrize("name", builtin.BUILTINS)
def test_every_object_can_be_seen(name):
    views = open_object(f"builtin:{name}", n_views=3, config=RenderConfig(hw=(96, 96), supersample=1))
    assert views.name == f"builtin-{name}" == object_name(f"builtin:{name}")
    for view in views:
        assert 0.02 < view.mask.mean() < 0.6
        assert view.rgb[view.mask].std() > 15  # painted, not plain
        assert np.abs(view.points_in_world[view.mask]).max() <= 0.5 + 1e-6


def test_an_unknown_name_is_one_message_that_lists_them():
    for call in (lambda: open_mesh("builtin:sofa"), lambda: check_sources(["builtin:sofa"])):
        with pytest.raises(EquiviewError, match="camera, mug, .*'sofa'"):
            call()
