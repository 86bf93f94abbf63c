"""Templates from every source of 3D, and queries located against them, with perfect features and with noise."""

from dataclasses import replace

import numpy as np
import pytest

from equiview.errors import EquiviewError
from equiview.geometry import project, transform
from equiview.matching.pose import LocateConfig, Template, TemplateConfig, TriangulationConfig
from equiview.metrics.pose import rotation_error_deg, translation_error
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from posed_worlds import FOCAL, HW, PictureOracle, posed, views
from worlds import camera_at, moved, sphere_view

REFERENCES, QUERIES = views(12), views(3, 0.7, "q")
ORACLE = PictureOracle([*REFERENCES, *QUERIES])
COARSE = PictureOracle([*REFERENCES, *QUERIES], stride_px=8)
WIDE = TemplateConfig(TriangulationConfig(angle_deg=(5.0, 75.0)))


def depth_of(view):
    depth = project(view.camera, view.points_in_world.astype(float))[1]
    return np.where(view.mask, np.nan_to_num(depth), 0.0)


def sources_of_3d():
    rng = np.random.default_rng(0)
    observations = []
    for view in REFERENCES:
        points = view.points_in_world[view.mask][rng.permutation(view.mask.sum())[:150]].astype(float)
        observations.append((project(view.camera, points)[0], points))
    pictures = [posed(view, mask=view.mask) for view in REFERENCES]
    return {
        "renders": (REFERENCES, {}),
        "depth": ([posed(view, depth=depth_of(view)) for view in REFERENCES], {}),
        "observations": (pictures, {"observations": observations}),
        "pictures alone": (pictures, {"config": WIDE}),
    }


@pytest.mark.parametrize("name", list(sources_of_3d()))
def test_the_oracle_is_located_from_every_source(name):
    references, more = sources_of_3d()[name]
    template = Template.from_views(ORACLE, references, **more)
    off = np.abs(np.linalg.norm(template.points_in_world, axis=1) - 0.5)
    assert np.median(off) < 0.01 if name == "pictures alone" else off.max() < 1e-5
    for query in QUERIES:
        found = template.locate(posed(query), query.camera.intrinsics)
        assert rotation_error_deg(found.cam_from_world, query.camera.cam_from_world) < 1.0
        assert translation_error(found.cam_from_world, query.camera.cam_from_world) < 0.05
        assert found.n_inliers > 50


class Upright(PictureOracle):
    """As a Vision Transformer: a picture in which the world's up is not up has other features."""

    def maps(self, pictures, **_):
        for picture in pictures:
            view, roll = self.known[picture.tobytes()]
            (fmap,) = super().maps([picture])
            up = roll if view.camera.cam_from_world[1, 2] <= 0 else roll + 2
            yield fmap.replace_tokens(fmap.tokens.roll(up % 4, 0))


def test_an_upside_down_query_needs_turns_and_finds_the_same_pose():
    camera = camera_at(QUERIES[0].camera.center_in_world, HW, FOCAL, up=(0, 0, -1.0))
    query = sphere_view(camera, name="upside down")
    source = Upright([*REFERENCES, query])
    template = Template.from_views(source, [posed(view, depth=depth_of(view)) for view in REFERENCES])
    upright = template.attempt(query.rgb, camera.intrinsics)
    found = template.attempt(query.rgb, camera.intrinsics, config=LocateConfig(rolls=(0, 1, 2, 3)))
    assert found.roll == 2
    assert rotation_error_deg(found.estimate.cam_from_world, camera.cam_from_world) < 1.0
    assert upright.estimate is None or rotation_error_deg(upright.estimate.cam_from_world, camera.cam_from_world) > 5


def test_noise_is_chance_or_failure():
    noise = NoiseExtractor(stride_px=8)
    template = Template.from_views(noise, REFERENCES)
    errors = []
    for query in QUERIES:
        attempt = template.attempt(query, query.camera.intrinsics)
        if attempt.estimate is None:
            assert attempt.reason
            continue
        errors.append(rotation_error_deg(attempt.estimate.cam_from_world, query.camera.cam_from_world))
    assert all(error > 5 for error in errors)


def test_the_world_frame_does_not_matter():
    other_from_world = camera_at((0.3, 0.2, 0.1)).cam_from_world
    references = [moved(view, other_from_world) for view in REFERENCES]
    query = QUERIES[2]
    here = Template.from_views(OracleExtractor(4), REFERENCES)
    # The same features (an oracle of the other frame would have others), the other points.
    there = replace(here, points_in_world=transform(other_from_world, here.points_in_world))
    assert len(here) == len(Template.from_views(OracleExtractor(4, 3.0), references))
    pose, other = (one.locate(query, query.camera.intrinsics).cam_from_world for one in (here, there))
    assert rotation_error_deg(other @ other_from_world, pose) < 0.05
    assert translation_error(other @ other_from_world, pose) < 0.01


def test_seeded():
    template = Template.from_views(COARSE, [posed(view) for view in REFERENCES], config=WIDE)
    again = Template.from_views(COARSE, [posed(view) for view in REFERENCES], config=WIDE)
    np.testing.assert_array_equal(template.points_in_world, again.points_in_world)
    query = posed(QUERIES[0])
    poses = [one.locate(query, query.camera.intrinsics).cam_from_world for one in (template, again)]
    np.testing.assert_array_equal(*poses)


def test_box_mask_and_size_bound_the_template():
    box = np.array([[-1, -1, 0], [1, 1, 1.0]])
    upper = Template.from_views(ORACLE, REFERENCES, box=box, config=TemplateConfig(box_margin=0.0))
    assert upper.points_in_world[:, 2].min() >= 0
    some = Template.from_views(ORACLE, REFERENCES, config=TemplateConfig(max_points=40))
    assert len(some) == len(some.descriptors) == len(some.view) == 40
    nothing = [posed(view, depth=depth_of(view), mask=np.zeros(HW, bool)) for view in REFERENCES]
    with pytest.raises(EquiviewError, match="template: expected 3D points on the object, found none"):
        Template.from_views(ORACLE, nothing)


def test_a_small_cache_changes_nothing():
    pictures = [posed(view) for view in REFERENCES[:6]]
    roomy, tight = (
        Template.from_views(COARSE, pictures, config=replace(WIDE, cache_bytes=size)) for size in (2**30, 1)
    )
    np.testing.assert_array_equal(roomy.points_in_world, tight.points_in_world)


def test_bad_references(tmp_path):
    good = posed(REFERENCES[0])
    for references, more, message in (
        ([], {}, "at least one posed picture"),
        ([good], {}, "two posed pictures or more"),
        ([good, posed(REFERENCES[1], depth=depth_of(REFERENCES[1]))], {}, "depth in all or in none"),
        ([good], {"observations": []}, "one pair"),
        ([good], {"observations": [(np.zeros((3, 2)), np.zeros((2, 3)))]}, "pixels \\[n, 2\\]"),
        ([replace(good, image=tmp_path / "gone.png"), good], {}, "gone.png: expected an image file"),
        (REFERENCES, {"box": np.ones((2, 3))}, "box: expected"),
        ([replace(good, image=good.image[:50]), good], {}, "192x192 pixels as its camera says"),
    ):
        with pytest.raises(EquiviewError, match=message):
            Template.from_views(ORACLE, references, **more)


def test_bad_queries():
    with pytest.raises(EquiviewError, match="locate settings: expected at least one roll"):
        LocateConfig(rolls=())
    template = Template.from_views(ORACLE, REFERENCES)
    with pytest.raises(EquiviewError, match="intrinsics: expected a finite"):
        template.locate(QUERIES[0], np.full((3, 3), np.nan))
    few = replace(template, descriptors=template.descriptors[:3], points_in_world=template.points_in_world[:3])
    attempt = few.attempt(QUERIES[0], QUERIES[0].camera.intrinsics)
    assert attempt.estimate is None and attempt.reason == "fewer than 4 matches" and attempt.n_matches <= 3
    assert few.locate(QUERIES[0], QUERIES[0].camera.intrinsics) is None
