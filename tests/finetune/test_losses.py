"""Losses: parity with public reference code, and the laws they must obey."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from equiview.errors import EquiviewError
from equiview.finetune.losses import (
    LOSSES,
    count_positives,
    equivariance_regulariser,
    info_nce,
    relations,
    smooth_ap,
    smooth_ap_published,
    smooth_average_precision,
)

CASES = [
    "normal", "many_negatives", "nearly_solved", "collapsed_high_similarity", "random_descriptors", "no_positives",
    "batch2", "one_positive_no_negative",
]  # fmt: skip
SOUND = {"smooth_ap": smooth_ap, "info_nce": info_nce, "regulariser": equivariance_regulariser}


def scene(seed: int, s: int = 12, t: int = 15, c: int = 8) -> list[torch.Tensor]:
    """Descriptors and points of two views that share their first points."""
    rng = torch.Generator().manual_seed(seed)
    points0 = torch.rand(1, s, 3, generator=rng)
    points1 = torch.rand(1, t, 3, generator=rng)
    shared_count = min(s, t) // 2
    points1[:, :shared_count] = points0[:, :shared_count] + 1e-4
    return [torch.randn(1, s, c, generator=rng), torch.randn(1, t, c, generator=rng), points0, points1]


@pytest.mark.shared
@pytest.mark.parametrize("case", CASES)
def test_published_loss_and_gradients_match_the_reference(golden: Path, case: str):
    data = np.load(golden / "f02_training_loss.npz")
    inputs = {k: torch.from_numpy(data[f"{case}/in/{k}"]) for k in ("desc_1", "desc_2", "pts3d_1", "pts3d_2")}
    desc_1, desc_2 = inputs["desc_1"].requires_grad_(), inputs["desc_2"].requires_grad_()
    positive, negative = relations(inputs["pts3d_1"], inputs["pts3d_2"])
    assert int(positive.sum()) == data[f"{case}/out/n_pos"]
    assert int((positive.sum(-1) * negative.sum(-1)).sum()) == data[f"{case}/out/n_neg_of_pos"]
    loss = smooth_ap_published(desc_1, desc_2, inputs["pts3d_1"], inputs["pts3d_2"])
    loss.backward()
    np.testing.assert_allclose(loss.item(), data[f"{case}/out/loss"], rtol=0, atol=5e-7)
    np.testing.assert_allclose(desc_1.grad, data[f"{case}/out/grad_desc_1"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(desc_2.grad, data[f"{case}/out/grad_desc_2"], rtol=0, atol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["b12_c3", "b20_c5_t0.05", "b24_c4_clustered", "b8_c4_pairs"])
def test_smoothed_precision_matches_the_original_smooth_ap(golden: Path, case: str):
    data = np.load(golden / "f11_smooth_ap.npz")
    embeddings = torch.from_numpy(data[f"{case}/in/embeddings"]).requires_grad_()
    label = torch.arange(len(embeddings)) // (len(embeddings) // int(data[f"{case}/in/num_id"]))
    same = (label[:, None] == label)[None]
    similarity = (embeddings @ embeddings.T)[None]
    precision = smooth_average_precision(similarity, same, ~same, temperature=float(data[f"{case}/in/anneal"]))
    loss = 1 - precision.mean()
    loss.backward()
    np.testing.assert_allclose(loss.item(), data[f"{case}/out/loss"][0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(embeddings.grad, data[f"{case}/out/grad_embeddings"], rtol=0, atol=1e-5)


def test_published_loss_without_positives_is_nan_with_zero_gradients():
    desc0, desc1, points0, _ = scene(0)
    desc0.requires_grad_()
    loss = smooth_ap_published(desc0, desc1, points0, points0[:, :1] + 5 + torch.zeros(1, 15, 3))
    loss.backward()
    assert loss.isnan() and not desc0.grad.any()


@pytest.mark.parametrize("name", SOUND)
def test_sound_losses_refuse_to_score_nothing(name: str):
    desc0, desc1, points0, points1 = scene(0)
    with pytest.raises(EquiviewError, match="same surface point"):
        SOUND[name](desc0, desc1, points0, points1 + 5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), s=st.integers(2, 20), t=st.integers(2, 20))
@pytest.mark.parametrize("name", SOUND)
def test_swapping_the_views_changes_nothing(name: str, seed: int, s: int, t: int):
    desc0, desc1, points0, points1 = scene(seed, s, t)
    there = SOUND[name](desc0, desc1, points0, points1)
    back = SOUND[name](desc1, desc0, points1, points0)
    torch.testing.assert_close(there, back, rtol=1e-5, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("name", [*SOUND, "smooth_ap_published"])
def test_the_order_of_points_does_not_matter(name: str, seed: int):
    loss = {**SOUND, **LOSSES}[name]
    desc0, desc1, points0, points1 = scene(seed)
    desc0, desc1 = F.normalize(desc0, dim=-1), F.normalize(desc1, dim=-1)
    rng = torch.Generator().manual_seed(seed + 1)
    order0, order1 = torch.randperm(12, generator=rng), torch.randperm(15, generator=rng)
    shuffled = loss(desc0[:, order0], desc1[:, order1], points0[:, order0], points1[:, order1])
    torch.testing.assert_close(shuffled, loss(desc0, desc1, points0, points1), rtol=1e-5, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
@pytest.mark.parametrize("name", SOUND)
def test_the_length_of_descriptors_does_not_matter(name: str, seed: int, scale: float):
    desc0, desc1, points0, points1 = scene(seed)
    scaled = SOUND[name](desc0 * scale, desc1 / scale, points0, points1)
    torch.testing.assert_close(scaled, SOUND[name](desc0, desc1, points0, points1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_object_units_only_enter_through_the_thresholds(name: str):
    desc0, desc1, points0, points1 = scene(3)
    same = LOSSES[name](desc0, desc1, points0, points1)
    metres = LOSSES[name](desc0, desc1, points0 * 8, points1 * 8, positive_below=0.04, negative_above=0.8)
    torch.testing.assert_close(metres, same)


def test_points_in_the_dead_zone_are_neither_positive_nor_negative():
    points0 = torch.zeros(1, 1, 3)
    points1 = torch.tensor([[[0.004, 0, 0], [0.006, 0, 0], [0.099, 0, 0], [0.101, 0, 0]]])
    positive, negative = relations(points0, points1)
    assert positive.tolist() == [[[True, False, False, False]]]
    assert negative.tolist() == [[[False, False, False, True]]]
    rng = torch.Generator().manual_seed(0)
    desc0 = torch.ones(
        1, 1, 8
    )  # nearly equal descriptors: nothing is solved, so every point that counts has a gradient
    desc1 = (desc0 + 0.01 * torch.randn(1, 4, 8, generator=rng)).requires_grad_()
    for name in ("smooth_ap", "info_nce"):
        (gradient,) = torch.autograd.grad(LOSSES[name](desc0, desc1, points0, points1), desc1)
        assert gradient[0, [1, 2]].abs().max() == 0 and gradient[0, 3].abs().max() > 0, name


def slope(loss, gap: float) -> float:
    """|dL/ds| of one query whose 500 negatives lie `gap` above its positive."""
    s = torch.tensor(0.5, requires_grad=True)
    n = torch.full((500,), 0.5 + gap)
    positive = torch.tensor([True] + [False] * 500)[None, None]
    value = loss(torch.cat([s[None], n])[None, None], positive, ~positive)
    value.backward()
    return abs(s.grad.item())


def test_hard_queries_keep_their_gradient_where_the_published_loss_loses_it():
    def published(similarity, positive, negative):
        s, n = similarity[positive], similarity[negative]
        sigmoid = torch.sigmoid((1 - s) / 0.01) + 1
        return (1 - (1 + sigmoid / (sigmoid + torch.sigmoid((n - s) / 0.01).sum())) / 2).mean()

    def sound(similarity, positive, negative):
        from equiview.finetune.losses import _unsaturated_step

        return -smooth_average_precision(similarity, positive, negative, step=_unsaturated_step).log().mean()

    # Measured once: 11.6, 0.2, 0.03 for the published loss.
    assert slope(published, -0.05) == pytest.approx(11.6, abs=0.2)
    assert slope(published, 0.02) < 0.05
    for gap, least in ((-0.05, 50), (0.0, 40), (0.02, 20), (0.2, 3)):
        assert slope(sound, gap) > least, gap


@pytest.mark.parametrize("name", [*SOUND, "smooth_ap_published"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_are_finite_for_extreme_descriptors_and_low_precision(name: str, dtype: torch.dtype):
    loss = {**SOUND, **LOSSES}[name]
    desc0, desc1, points0, points1 = scene(1)
    for d0, d1 in ((desc0, desc1), (torch.ones_like(desc0), torch.ones_like(desc1)), (desc0 * 0, desc1)):
        a = (F.normalize(d0, dim=-1)).to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(a, F.normalize(d1, dim=-1).to(dtype), points0, points1)
        value.backward()
        assert value.dtype == torch.float32 and value.isfinite() and a.grad.isfinite().all()


def test_autocast_does_not_change_the_value():
    inputs = scene(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = smooth_ap(*inputs)
    assert inside == smooth_ap(*inputs)


def test_a_query_without_negatives_costs_nothing():
    points = torch.zeros(1, 1, 3)
    desc = torch.ones(1, 1, 4, requires_grad=True)
    for name in ("smooth_ap", "info_nce"):
        value = LOSSES[name](desc, -desc.detach(), points, points)
        value.backward()
        assert value == 0 and desc.grad.isfinite().all()


def test_a_collapsed_feature_is_no_minimum_of_the_regulariser():
    _, _, points0, points1 = scene(2)
    rng = torch.Generator().manual_seed(0)
    constant0, constant1 = torch.ones(1, 12, 8), torch.ones(1, 15, 8)
    collapsed = equivariance_regulariser(constant0, constant1, points0, points1)
    for size in (0.03, 0.3, 1.0):
        # A function of the 3D point alone: perfectly equivariant, and not constant.
        direction = torch.randn(3, 8, generator=rng)
        moved = equivariance_regulariser(
            constant0 + size * points0 @ direction, constant1 + size * points1 @ direction, points0, points1
        )
        assert moved < collapsed
    assert equivariance_regulariser(points0 - 0.5, points1 - 0.5, points0, points1) < 0.02


def test_a_perfect_feature_has_no_loss_and_descent_finds_one():
    _, _, points0, points1 = scene(4)
    frequencies = torch.randn(3, 64, generator=torch.Generator().manual_seed(1)) * 12
    perfect = [torch.cat([(p @ frequencies).sin(), (p @ frequencies).cos()], -1) for p in (points0, points1)]
    for name in ("smooth_ap", "info_nce"):
        assert LOSSES[name](*perfect, points0, points1) < 0.01, name
    for name, loss in SOUND.items():
        desc0, desc1, *_ = scene(4)
        desc0.requires_grad_(), desc1.requires_grad_()
        optimiser = torch.optim.Adam([desc0, desc1], lr=0.05)
        first = loss(desc0, desc1, points0, points1).item()
        for _ in range(60):
            optimiser.zero_grad()
            value = loss(desc0, desc1, points0, points1)
            value.backward()
            optimiser.step()
        assert value.item() < 0.3 * first, name


def test_counting_positives():
    _, _, points0, points1 = scene(0)
    assert count_positives(points0[0], points1[0]) == 6
    assert count_positives(points0[0], points1[0, :0]) == 0
    cloud = torch.rand(2, 300, 3, generator=torch.Generator().manual_seed(0))
    assert count_positives(cloud[0], cloud[1], 0.05) == relations(cloud[:1], cloud[1:], 0.05)[0].sum() > 10
