"""What the page draws is what was measured."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from equiview.draw.report_pictures import pca_colors, save_pictures, similarity_maps, typical_pair
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.sampling import descriptors
from equiview.tasks.equivariance import MeasureConfig, plan_object
from worlds import sphere_ring


@pytest.fixture(scope="module")
def plan():
    return plan_object("sphere", sphere_ring(6), MeasureConfig(points=80))


def test_the_typical_pair_is_near_50_degrees(plan):
    angles = {pair: truth.angle_deg for pair, truth in plan.pairs.items()}
    assert abs(angles[typical_pair(plan)] - 50) == min(abs(angle - 50) for angle in angles.values())


def test_the_file_holds_truth_and_both_predictions(plan, tmp_path):
    before = list(NoiseExtractor(8, seed=0, stride_px=4).maps(plan.views))
    after = list(OracleExtractor(stride_px=4).maps(plan.views))
    save_pictures(tmp_path / "sphere.npz", plan, before, after, seed=1)
    i, j = typical_pair(plan)
    with np.load(tmp_path / "sphere.npz") as file:
        found = dict(file)
    assert np.array_equal(found["rgb0"], plan.views[i].rgb) and np.array_equal(found["mask1"], plan.views[j].mask)
    n, q = len(found["xy0"]), len(found["query_xy0"])
    assert found["xy1_true"].shape == found["xy1_before"].shape == found["xy1_after"].shape == (n, 2)
    assert 1 <= q <= n <= len(plan.pairs[i, j])
    error = {k: np.linalg.norm(found[f"xy1_{k}"] - found["xy1_true"], axis=1).mean() for k in ("before", "after")}
    # A token is 4 px wide.
    assert error["after"] < 4 < error["before"]
    for name in ("heat_before", "heat_after"):
        assert found[name].shape == (q, *after[j].hw) and found[name].dtype == np.float16
    for name in ("pca0_before", "pca1_after"):
        assert 0 <= found[name].min() <= found[name].max() <= 1


def test_similarity_is_the_cosine_with_every_token(plan):
    fmap = list(OracleExtractor(stride_px=8).maps(plan.views[:1]))[0]
    queries = descriptors(fmap, torch.tensor([[30.0, 30.0], [33.0, 36.0]]))
    rows, cols = fmap.hw
    plain = np.zeros((2, rows, cols))
    for n, r, c in np.ndindex(plain.shape):
        plain[n, r, c] = F.cosine_similarity(queries[n], fmap.tokens[:, r, c], dim=0)
    assert np.allclose(similarity_maps(queries, fmap), plain, atol=2e-3)


def test_pca_colours_repeat_and_share_a_basis(plan):
    fmap = next(iter(NoiseExtractor(8, seed=0, stride_px=4).maps(plan.views[:1])))
    mask = plan.views[0].mask
    one, same = pca_colors([fmap, fmap], [mask, mask])
    assert np.array_equal(one, same) and one.shape == (*fmap.hw, 3)
    # The background is black: token centres outside the mask.
    assert (one[0, 0] == 0).all() and one.max() > 0.5


def test_two_channels_are_enough_for_a_picture(plan):
    fmap = next(iter(NoiseExtractor(2, seed=0, stride_px=4).maps(plan.views[:1])))
    picture = pca_colors([fmap], [plan.views[0].mask])[0]
    assert picture.shape == (*fmap.hw, 3) and np.isfinite(picture).all()
