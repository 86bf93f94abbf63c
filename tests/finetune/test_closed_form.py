"""The Wiener head: what it must do where the answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune.closed_form import (
    ClosedFormConfig,
    PictureStatistics,
    ViewStatistics,
    picture_statistics,
    solve_closed_form,
    view_statistics,
    whitening_matrix,
    wiener_matrix,
)
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.types import FeatureMap
from finetune.tiny import tiny_backbone
from worlds import sphere_ring

DIM, NOISY = 12, 4


def orthonormal(seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(DIM, DIM)))[0]


def test_it_removes_the_subspace_that_changes_with_the_view_and_keeps_the_rest():
    basis = orthonormal()
    noisy, quiet = basis[:, :NOISY], basis[:, NOISY:]
    matrix = wiener_matrix(np.eye(DIM), 1e3 * noisy @ noisy.T)
    assert np.abs(matrix @ noisy).max() < 1e-3
    assert np.allclose(matrix @ quiet, quiet, atol=1e-3)


def test_without_view_noise_or_with_c_large_it_is_the_identity():
    scatter = np.cov(np.random.default_rng(0).normal(size=(DIM, 50)))
    assert np.allclose(wiener_matrix(np.eye(DIM), np.zeros((DIM, DIM))), np.eye(DIM), atol=1e-5)
    assert np.allclose(wiener_matrix(np.eye(DIM), scatter, c=1e9), np.eye(DIM), atol=1e-5)


def test_a_smaller_c_suppresses_more():
    basis = orthonormal(1)
    noisy = basis[:, :NOISY]
    left = [np.linalg.norm(wiener_matrix(np.eye(DIM), noisy @ noisy.T, c) @ noisy) for c in (10.0, 1.0, 0.1)]
    assert left[0] > left[1] > left[2]
    # One direction: variance 1 against scatter 1 / c.
    assert left[1] == pytest.approx(np.sqrt(NOISY) / 2, rel=1e-4)


def test_it_is_the_same_in_any_basis_and_at_any_scale():
    rng = np.random.default_rng(2)
    covariance, scatter = np.cov(rng.normal(size=(DIM, 60))), np.cov(rng.normal(size=(DIM, 60)))
    basis = orthonormal(3)
    plain = wiener_matrix(covariance, scatter)
    assert np.allclose(
        wiener_matrix(basis @ covariance @ basis.T, basis @ scatter @ basis.T), basis @ plain @ basis.T, atol=1e-8
    )
    assert np.allclose(wiener_matrix(1e-6 * covariance, 1e-6 * scatter), plain, atol=1e-8)


def test_dead_channels_stay_finite():
    covariance = np.diag([1.0] * (DIM - 2) + [0.0, 0.0])
    assert np.isfinite(wiener_matrix(covariance, np.zeros((DIM, DIM)))).all()


def picture_maps(n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        yield FeatureMap(torch.randn(DIM, 6, 7, generator=generator) * 2 + 1, (8.0, 8.0), (4.0, 4.0), (48, 56))


def test_picture_statistics_are_mean_and_covariance():
    """All tokens are used here, so numpy on everything at once is the plain twin."""
    found = picture_statistics(picture_maps(), tokens_per_picture=42)
    tokens = np.concatenate([m.tokens.flatten(1).T.double().numpy() for m in picture_maps()])
    assert found.n == len(tokens) == 5 * 42
    assert np.allclose(found.mean, tokens.mean(0))
    assert np.allclose(found.covariance, np.cov(tokens.T, bias=True))


def test_no_pictures_is_an_error():
    with pytest.raises(EquiviewError, match="picture"):
        picture_statistics([])


def test_features_that_follow_the_surface_have_no_scatter_and_noise_has_all():
    views = sphere_ring(6)
    config = ClosedFormConfig(points=60)
    oracle = list(OracleExtractor(stride_px=4).maps(views))
    noise = list(NoiseExtractor(8, seed=0).maps(views))
    found = view_statistics([(views, oracle)], config)
    of_oracle, of_noise = found.scatter, view_statistics([(views, noise)], config).scatter
    spread = [np.cov(torch.cat([m.tokens.flatten(1) for m in maps], 1).double().numpy()) for maps in (oracle, noise)]
    assert found.n > 200
    assert np.trace(of_oracle) < 0.3 * np.trace(spread[0])
    assert np.trace(of_oracle) / np.trace(spread[0]) < 0.5 * np.trace(of_noise) / np.trace(spread[1])


def test_scatter_is_symmetric_positive_and_repeats():
    views = sphere_ring(5)
    maps = list(NoiseExtractor(8, seed=1).maps(views))
    first, again, other = (
        view_statistics([(views, maps)], ClosedFormConfig(points=30), seed=seed).scatter for seed in (4, 4, 5)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.allclose(first, first.T) and np.linalg.eigvalsh(first).min() > -1e-10


def test_views_that_share_nothing_are_an_error():
    views = sphere_ring(2)  # the two sides of a sphere
    with pytest.raises(EquiviewError, match="closer together"):
        view_statistics([(views, list(NoiseExtractor(4, seed=0).maps(views)))], ClosedFormConfig(min_overlap=0.5))


@pytest.mark.parametrize(("center", "offset"), [("pictures", 0.0), ("objects", 5.0)])
def test_the_head_is_the_matrix_after_the_mean(center, offset):
    mean = np.arange(DIM, dtype=float)
    pictures = PictureStatistics(mean, np.eye(DIM), 9)
    views = ViewStatistics(mean + 5, np.zeros((DIM, DIM)), 9)
    head = solve_closed_form(pictures, views, ClosedFormConfig(center=center))
    tokens = torch.randn(1, DIM, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(head(tokens), tokens - torch.from_numpy(mean + offset).float()[:, None, None], atol=1e-4)


def test_whitening_makes_the_view_scatter_round():
    scatter = np.cov(np.random.default_rng(5).normal(size=(DIM, 60)))
    matrix = whitening_matrix(scatter, scatter, shrinkage=1e-9)
    assert np.allclose(matrix @ scatter @ matrix.T, np.eye(DIM), atol=1e-6)
    assert np.allclose(matrix, matrix.T)


def share_of_scatter(views, maps, config, seed=0):
    """What changes with the view over all that varies, as traces."""
    scatter = view_statistics([(views, maps)], config, seed).scatter
    return np.trace(scatter) / np.trace(picture_statistics(maps).covariance)


@pytest.mark.parametrize("c", [0.1, 1.0])
def test_the_features_of_a_network_change_less_with_the_view_through_its_head(c):
    """Also at points it was not solved on; with a smaller c less is left, and strength 0 leaves them alone."""
    views = sphere_ring(6)
    maps = list(Extractor(tiny_backbone(), FeatureConfig(long_side=64)).maps(views))
    config = ClosedFormConfig(points=20, c=c)
    statistics = picture_statistics(maps), view_statistics([(views, maps)], config)

    def share(config):
        head = solve_closed_form(*statistics, config)
        seen = [fmap.replace_tokens(head(fmap.tokens[None])[0].detach()) for fmap in maps]
        return share_of_scatter(views, seen, config, seed=1)

    before = share_of_scatter(views, maps, config, seed=1)
    assert share(config) < 0.8 * before
    assert share(replace(config, strength=0.0)) == pytest.approx(before, rel=1e-5)
    assert share(config) < share(replace(config, strength=0.5)) < before
    assert share(replace(config, c=c / 10)) < share(config)


@pytest.mark.parametrize(
    "wrong", [{"c": -1.0}, {"c": float("nan")}, {"points": 0}, {"tokens_per_picture": 0}, {"strength": 2.0}]
)
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(EquiviewError, match="closed form|strength"):
        ClosedFormConfig(**wrong)
