"""Clips: the same from a seed, tracks that are formulas, and visibility that is what the pictures show."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, maximum_filter

from equiview.data.synthetic.clips import ClipWorld, RenderedClip, clips, rendered_clip
from equiview.data.synthetic.occluder import covers
from equiview.errors import EquiviewError
from equiview.geometry import project
from equiview.matching.match import match
from equiview.models.oracle import NoiseExtractor, OracleExtractor, PictureOracle
from equiview.render.texture import bilinear
from equiview.render.visibility import inside_frame
from equiview.sampling import descriptors

SEED = 3
# One light for all sides: a point keeps its colour.
WORLD = ClipWorld(frames=7, hw=(160, 160), object_points=60, background_points=20, ambient=1.0)


@pytest.fixture(scope="module")
def made() -> RenderedClip:
    return rendered_clip(SEED, WORLD)


def test_the_same_seed_gives_the_same_clip(made):
    (again,) = clips([SEED], WORLD)
    assert again.name == made.clip.name == f"clip-{SEED}"
    assert all((a == b).all() for a, b in zip(again.frames, made.clip.frames, strict=True))
    assert (again.xy == made.clip.xy).all() and (again.visible == made.clip.visible).all()


def test_everything_is_known_and_starts_visible(made):
    clip = made.clip
    assert clip.xy.shape == (80, 7, 2) and clip.visible.shape == clip.known.shape == (80, 7)
    assert clip.hw == (160, 160) and len(clip.frames) == 7 and clip.frames[0].shape == (160, 160, 3)
    assert clip.known.all() and np.isfinite(clip.xy).all() and clip.visible[:, 0].all()
    assert 0.05 < 1 - clip.visible.mean() < 0.6


def test_points_of_the_object_are_projected_exactly(made):
    cols, rows = made.clip.xy[:60, 0].astype(int).T
    points = made.surfaces[0].points_in_world[rows, cols]
    for t, motion in enumerate(made.motions):
        np.testing.assert_allclose(project(motion.camera, points)[0], made.clip.xy[:60, t], atol=1e-9)


def test_everything_moves(made):
    path = np.linalg.norm(np.diff(made.clip.xy, axis=1), axis=-1)
    assert path[:60].mean() > 2 and path[60:].mean() > 0.5
    first, last = made.motions[0].camera.cam_from_world, made.motions[-1].camera.cam_from_world
    angle = np.degrees(np.arccos((np.trace(first[:3, :3] @ last[:3, :3].T) - 1) / 2))
    assert angle == pytest.approx(WORLD.turn_deg, abs=0.01)


def test_a_visible_point_keeps_its_colour(made):
    clip = made.clip
    frames = [bilinear(f, clip.xy[:, t] / 160, ("clamp", "clamp")) * 255 for t, f in enumerate(clip.frames)]
    change = np.abs(np.stack(frames, 1) - frames[0][:, None]).mean(-1)[:, 1:]
    visible, inside = clip.visible[:, 1:], inside_frame(clip.xy[:, 1:].reshape(-1, 2), clip.hw).reshape(80, 6)
    # The object is sampled anew in each frame, at another scale: colours of one point differ by a blurred texture.
    assert np.median(change[visible]) < 8 and np.mean(change[visible] < 40) > 0.9
    assert np.median(change[~visible & inside]) > 25


def test_visibility_is_what_the_pictures_show(made):
    """At a place without edges nearby, the surface behind the pixel is the point's own when it is visible only."""
    checked = {True: 0, False: 0}
    for t, surface in enumerate(made.surfaces):
        inside = inside_frame(made.clip.xy[:, t], made.clip.hw)
        cols, rows = made.clip.xy[inside, t].astype(int).T
        apart = np.linalg.norm(surface.points_in_world[rows, cols] - lasting(made)[inside], axis=1)
        smooth = ~edges(surface, 2)[rows, cols]
        visible = made.clip.visible[inside, t]
        assert (apart[smooth & visible] < 0.03).all()
        assert (apart[smooth & ~visible] > 0.03).all()
        for state in checked:
            checked[state] += int((smooth & (visible == state)).sum())
    assert checked[True] > 200 and checked[False] > 30


def lasting(made: RenderedClip) -> np.ndarray:
    """The position that each track has on the surfaces."""
    cols, rows = made.clip.xy[:, 0].astype(int).T
    return made.surfaces[0].points_in_world[rows, cols]


def edges(surface, margin: int) -> np.ndarray:
    """True within `margin` pixels of a jump of the surface."""
    points = surface.points_in_world
    jump = np.zeros(points.shape[:2])
    for axis in (0, 1):
        jump = np.maximum(jump, np.linalg.norm(np.diff(points, axis=axis, prepend=np.take(points, [0], axis)), axis=-1))
    return maximum_filter(jump, 2 * margin + 1) > 0.06


def test_the_occluder_hides_exactly_what_it_covers(made):
    bare = rendered_clip(SEED, ClipWorld(**{**vars(WORLD), "occluder": False}))
    hidden = 0
    for t, motion in enumerate(made.motions):
        centers = np.stack(np.meshgrid(np.arange(160), np.arange(160)), -1) + 0.5
        covered = covers(motion.occluder, centers)
        changed = (made.clip.frames[t] != bare.clip.frames[t]).any(-1)
        assert not (changed & ~binary_dilation(covered, np.ones((3, 3)))).any()
        own = made.surfaces[t].triangle_id == len(made.mesh.faces) + 1
        assert (own == covered).all()
        over = covers(motion.occluder, made.clip.xy[:, t])
        assert not (made.clip.visible[:, t] & over).any()
        hidden += int(over.sum())
    assert hidden > 10
    assert all(motion.occluder is None for motion in bare.motions)


@pytest.mark.parametrize("perfect", [True, False])
def test_bounds_of_tracking(made, perfect):
    """Perfect features follow every point that is away from edges; noise follows none."""
    stride, clip = 4, made.clip
    surfaces = {True: made.surfaces, False: clip.frames}[perfect]
    source = OracleExtractor(stride) if perfect else NoiseExtractor(32, stride_px=stride)
    maps = list(source.maps(surfaces))
    query = descriptors(maps[0], torch.from_numpy(clip.xy[:, 0]).float())
    start = ~edges(made.surfaces[0], stride)[tuple(clip.xy[:, 0].astype(int).T[::-1])]
    errors = []
    for t in range(1, len(maps)):
        cols, rows = np.clip(clip.xy[:, t].astype(int), 0, 159).T
        inner = ((clip.xy[:, t] > stride) & (clip.xy[:, t] < 160 - stride)).all(1)
        safe = clip.visible[:, t] & start & inner & ~edges(made.surfaces[t], stride)[rows, cols]
        found = match(query, maps[t]).xy1.numpy()
        errors += np.linalg.norm(found - clip.xy[:, t], axis=1)[safe].tolist()
    assert len(errors) > 100
    assert np.mean(errors) < 1 and max(errors) < stride if perfect else np.mean(errors) > 40


def test_the_oracle_knows_pictures_by_their_pixels(made):
    oracle = PictureOracle(made.surfaces, 8)
    (by_picture,), (by_view,) = oracle.maps([made.clip.frames[2]]), OracleExtractor(8).maps([made.surfaces[2]])
    assert torch.equal(by_picture.tokens, by_view.tokens)
    with pytest.raises(EquiviewError, match="not resized"):
        list(oracle.maps([made.clip.frames[2][:, ::-1]]))
    assert oracle.describe()["backbone"] == "oracle"


def test_the_border_of_the_frame():
    xy = np.array([[0, 0], [159.99, 99.9], [160, 50], [-0.01, 50], [80, 100]])
    assert inside_frame(xy, (100, 160)).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("wrong", [{"frames": 1}, {"object_points": -1}, {"object_points": 0, "background_points": 0}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(EquiviewError, match="expected"):
        ClipWorld(**wrong)
