"""The second look: which part of a picture it takes, what its tokens say, and how much finer places become."""

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_erosion

from equiview.data.meshes import open_object
from equiview.errors import EquiviewError
from equiview.matching.match import match
from equiview.matching.refine import NEAR_WEIGHT, Box, Refined, box_around, box_of_matches, cut, refine_map
from equiview.metrics.equivariance import error_px
from equiview.models.oracle import OracleExtractor
from equiview.render import RenderConfig
from equiview.sampling import descriptors, token_centers
from equiview.tasks.equivariance import MeasureConfig, plan_object, score_object
from equiview.types import FeatureMap, Matches, View
from worlds import sphere_ring


@pytest.fixture(scope="module")
def rendered_mug() -> list[View]:
    """Four views close to each other; the object fills half of the picture."""
    return list(open_object("builtin:mug", n_views=4, config=RenderConfig(hw=(160, 160))))


class ScaledOracle:
    """An oracle that sees every picture at as many tokens, as a network does: a part of it more finely."""

    def __init__(self, tokens: int = 20) -> None:
        self.tokens = tokens

    def maps(self, views: Iterable[View], *, batch_size: int = 4) -> Iterator[FeatureMap]:
        for view in views:
            yield from OracleExtractor(stride_px=max(view.camera.hw) / self.tokens).maps([view])


def empty_map(hw: tuple[int, int] = (10, 20), stride: float = 10.0) -> FeatureMap:
    tokens = torch.randn((3, *hw), generator=torch.Generator().manual_seed(0))
    image_hw = (int(hw[0] * stride), int(hw[1] * stride))
    return FeatureMap(tokens, (stride, stride), (stride / 2, stride / 2), image_hw)


def test_the_box_holds_the_sure_matches_and_a_margin() -> None:
    generator = torch.Generator().manual_seed(1)
    near = torch.rand((200, 2), generator=generator) * 40 + torch.tensor([60.0, 30.0])
    stray = torch.rand((50, 2), generator=generator) * torch.tensor([200.0, 100.0])
    xy = torch.cat([near, stray])
    score = torch.cat([torch.ones(200), torch.zeros(50)])
    box = box_around(xy, score, empty_map())
    # 40 px of matches and a token on every side.
    assert box is not None
    assert np.abs(np.subtract((box.x0, box.y0, box.x1, box.y1), (50, 20, 110, 80))).max() <= 3


def test_a_box_of_nearly_everything_or_nothing_is_none() -> None:
    everywhere = token_centers(empty_map())
    assert box_around(everywhere, torch.ones(len(everywhere)), empty_map()) is None
    assert box_around(torch.zeros(0, 2), torch.zeros(0), empty_map()) is None
    assert box_of_matches([], empty_map()) is None
    # One place, in a corner: a part of some size all the same, inside the picture.
    assert box_around(torch.tensor([[1.0, 99.0]]), torch.ones(1), empty_map()) == Box(0, 79, 21, 100)


def test_tokens_say_what_both_looks_see(rendered_mug: list[View]) -> None:
    view, source = rendered_mug[0], ScaledOracle()
    (whole,) = source.maps([view])
    h, w = view.camera.hw
    box = Box(w // 4, h // 4, 3 * w // 4, 3 * h // 4)
    look = refine_map(source, view, whole, box)
    assert look.near is not None and look.near.image_hw == (h, w)
    assert look.near.stride_xy[0] == pytest.approx(whole.stride_xy[0] / 2, rel=0.05)
    own, seen = look.near.tokens.split(4)
    centers = token_centers(look.near)
    assert bool(box.holds(centers).all())
    torch.testing.assert_close(seen.flatten(1).T, descriptors(whole, centers))
    # The part seen alone is the whole picture seen as finely, where it lies: an oracle knows no context.
    (finer,) = OracleExtractor(stride_px=look.near.stride_xy[0]).maps([view])
    own = own / NEAR_WEIGHT**0.5
    solid = own.flatten(1).norm(dim=0) > 0.99
    expected = descriptors(finer, centers)
    agree = (own.flatten(1).T * expected).sum(1)[solid & (expected.norm(dim=1) > 0.99)]
    assert len(agree) > 50 and agree.median() > 0.9999


def test_outside_the_box_the_first_look_stands() -> None:
    whole = empty_map()
    box = Box(50, 20, 100, 60)
    near = FeatureMap(F.normalize(torch.randn(6, 8, 10), dim=0), (5.0, 5.0), (52.5, 22.5), whole.image_hw)
    look = Refined(whole, box, near)
    xy = torch.tensor([[70.0, 40.0], [10.0, 10.0]])
    found, unit = look.descriptors(xy), descriptors(whole, xy)
    torch.testing.assert_close(found[0], descriptors(near, xy)[0])
    torch.testing.assert_close(found[1], F.normalize(torch.cat([NEAR_WEIGHT**0.5 * unit[1], unit[1]]), dim=0))
    coarse = Matches(xy, torch.zeros(2))
    placed = look.place(found, coarse)
    assert placed.xy1[0].tolist() != [70.0, 40.0] and placed.xy1[1].tolist() == [10.0, 10.0] and placed.score[1] == 0
    torch.testing.assert_close(placed.xy1[:1], match(found[:1], near).xy1)
    # Nowhere to search: the first match stands.
    assert look.place(found, coarse, torch.zeros(80, dtype=torch.bool)) is coarse
    assert Refined(whole).place(found, coarse) is coarse
    # Without a part both halves of a token are the first look, so that their cosine is its cosine.
    double = Refined(whole).fmap
    torch.testing.assert_close(descriptors(double, xy), Refined(whole).descriptors(xy))


def test_a_view_is_cut_with_its_truth(rendered_mug: list[View]) -> None:
    view = rendered_mug[0]
    part = cut(view, Box(10, 20, 60, 90))
    assert part.camera.hw == (70, 50) and part.rgb.shape == (70, 50, 3)
    row, col = (index[0] for index in np.nonzero(part.mask))
    point = part.points_in_world[row, col]
    seen = part.camera.intrinsics @ (part.camera.cam_from_world[:3] @ [*point, 1])
    np.testing.assert_allclose(seen[:2] / seen[2], [col + 0.5, row + 0.5], atol=1e-3)
    np.testing.assert_array_equal(cut(view.rgb, Box(10, 20, 60, 90)), part.rgb)


def test_perfect_features_are_placed_below_half_a_pixel() -> None:
    """A sphere under tokens 8 px wide, away from its rim: one look and two."""
    views, source = sphere_ring(8, hw=(256, 256), focal_px=140.0), ScaledOracle(32)
    plan, maps = plan_object("sphere", views, MeasureConfig(points=100)), list(source.maps(views))
    looks = [refine_map(source, view, fmap, box_of(view)) for view, fmap in zip(views, maps, strict=True)]
    inner = [binary_erosion(view.mask, iterations=8) for view in views]
    errors: dict[str, list[np.ndarray]] = {"coarse": [], "fine": []}
    for (i, j), truth in plan.pairs.items():
        kept = [inner[k][tuple(np.floor(xy).astype(int).T[::-1])] for k, xy in ((i, truth.xy0), (j, truth.xy1))]
        xy = torch.from_numpy(truth.xy0[kept[0] & kept[1]]).float()
        coarse = match(descriptors(maps[i], xy), maps[j])
        fine = looks[j].place(looks[i].descriptors(xy), coarse)
        for name, found in (("coarse", coarse), ("fine", fine)):
            errors[name].append(error_px(found.xy1.double().numpy(), truth.xy1[kept[0] & kept[1]]))
    coarse, fine = (np.concatenate(errors[name]) for name in ("coarse", "fine"))
    assert len(fine) > 150
    assert np.median(fine) < 0.5 and np.median(fine) < 0.6 * np.median(coarse)


def box_of(view: View) -> Box:
    (top, bottom), (left, right) = ((int(one.min()), int(one.max()) + 1) for one in np.nonzero(view.mask))
    return Box(left, top, right, bottom)


def test_measure_refines(rendered_mug: list[View]) -> None:
    plan, source = plan_object("mug", rendered_mug, MeasureConfig(points=200)), ScaledOracle()
    maps = list(source.maps(plan.views))
    once, twice = (
        score_object(plan, maps, MeasureConfig(points=200, refine=refine), source=source) for refine in (False, True)
    )
    assert [row["pair"] for row in once] == [row["pair"] for row in twice]
    for name in ("pcdp@0.05", "pcdp@0.1"):
        assert np.mean([row[name] for row in twice]) > np.mean([row[name] for row in once])
    assert all(row["in_mask"]["pcdp@0.1"] > 90 for row in twice)


def test_features_that_are_not_finite_get_the_message_they_get_without(rendered_mug: list[View]) -> None:
    plan = plan_object("mug", rendered_mug, MeasureConfig(points=50))
    maps = [fmap.replace_tokens(torch.full_like(fmap.tokens, torch.nan)) for fmap in ScaledOracle().maps(plan.views)]
    for refine in (False, True):
        with pytest.raises(EquiviewError, match="expected finite numbers"):
            score_object(plan, maps, MeasureConfig(points=50, refine=refine), source=ScaledOracle())


def test_other_channels_are_refused(rendered_mug: list[View]) -> None:
    with pytest.raises(EquiviewError, match="as many channels as of the whole"):
        refine_map(ScaledOracle(), rendered_mug[0], empty_map(), Box(0, 0, 40, 40))
