"""Transfer of key points: each localisation against its plain twin, the published one against stored values."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from equiview.errors import EquiviewError
from equiview.matching.localise import Localise
from equiview.matching.match import match
from equiview.matching.transfer import locate, locate_paper, transfer, transfer_maps
from equiview.models.oracle import NoiseExtractor
from equiview.sampling import descriptors, token_centers
from equiview.types import FeatureMap


def random_map(seed, c=12, rows=8, cols=8, patch=14):
    tokens = torch.randn(c, rows, cols, generator=torch.Generator().manual_seed(seed))
    return FeatureMap(tokens, (float(patch),) * 2, (patch / 2,) * 2, (rows * patch, cols * patch))


def hill_map(peak_xy, rows=9, cols=11, width=2.0, stride=8.0):
    """Return a map whose cosine with (1, 0) is a Gaussian hill around `peak_xy` (pixels)."""
    fmap = FeatureMap(torch.zeros(1, rows, cols), (stride,) * 2, (stride / 2,) * 2, (rows * 8, cols * 8))
    distance = (token_centers(fmap) - torch.tensor(peak_xy)).norm(dim=1) / stride
    cosine = torch.exp(-(distance**2) / (2 * width**2)).reshape(rows, cols)
    return FeatureMap(torch.stack([cosine, (1 - cosine**2).clamp(min=0).sqrt()]), *_geometry(fmap))


def _geometry(fmap):
    return fmap.stride_xy, fmap.offset_xy, fmap.image_hw


QUERY = torch.tensor([[1.0, 0.0]])


def test_argmax_is_match():
    queries, target = F.normalize(torch.randn(20, 12), dim=1), random_map(1)
    expected, found = match(queries, target), locate(queries, target)
    assert torch.equal(found.xy1, expected.xy1)
    assert torch.equal(found.score, expected.score)


@pytest.mark.parametrize("method", ["argmax", "window"])
@pytest.mark.parametrize("peak", [(44.0, 36.0), (45.5, 33.0), (41.0, 37.9)])
def test_a_hill_between_tokens_is_found(method, peak):
    found = locate(QUERY, hill_map(peak), Localise(method, temperature=0.05))
    assert (found.xy1[0] - torch.tensor(peak)).abs().max() < 1.0


@pytest.mark.parametrize("peak", [(4.0, 36.0), (84.0, 4.0), (12.0, 68.0)])
def test_the_window_is_not_pulled_in_at_the_border(peak):
    found = locate(QUERY, hill_map(peak), Localise("window", window=7, temperature=1.0))
    assert (found.xy1[0] - torch.tensor(peak)).abs().max() < 1e-3


def test_a_cold_window_is_the_best_token_and_one_token_too():
    queries, target = F.normalize(torch.randn(30, 12, generator=torch.Generator().manual_seed(2)), dim=1), random_map(3)
    expected = match(queries, target, subtoken=False)
    assert torch.allclose(locate(queries, target, Localise("window", 5, 1e-4)).xy1, expected.xy1, atol=1e-2)
    assert torch.equal(locate(queries, target, Localise("window", 1, 1.0)).xy1, expected.xy1)


def plain_window(query, target, window, temperature):
    """The plain twin: one query, loops over tokens."""
    tokens = F.normalize(target.tokens.flatten(1), dim=0)
    rows, cols = target.hw
    similarity = (query @ tokens).reshape(rows, cols)
    best = int(similarity.argmax())
    y, x = best // cols, best % cols
    ry, rx = min(window // 2, y, rows - 1 - y), min(window // 2, x, cols - 1 - x)
    total, at = 0.0, torch.zeros(2)
    for i in range(y - ry, y + ry + 1):
        for j in range(x - rx, x + rx + 1):
            weight = torch.exp(similarity[i, j] / temperature)
            total, at = total + weight, at + weight * torch.tensor([j, i])
    return at / total * torch.tensor(target.stride_xy) + torch.tensor(target.offset_xy)


def test_the_window_agrees_with_its_plain_twin():
    queries, target = (
        F.normalize(torch.randn(25, 12, generator=torch.Generator().manual_seed(4)), dim=1),
        random_map(5, cols=11),
    )
    found = locate(queries, target, Localise("window", 5, 0.1)).xy1
    expected = torch.stack([plain_window(q, target, 5, 0.1) for q in queries])
    assert torch.allclose(found, expected, atol=1e-3)


def plain_paper(queries, target):
    """The plain twin: every channel upsampled, then the dot product."""
    rows, cols = target.hw
    patch, h, w = int(target.stride_xy[0]), *target.image_hw
    inner = ((rows - 1) * patch + 1, (cols - 1) * patch + 1)
    dense = F.interpolate(target.tokens[None].double(), inner, mode="bilinear", align_corners=True)
    half = patch // 2
    dense = F.pad(dense, (half, w - half - inner[1], half, h - half - inner[0]), mode="replicate")[0]
    return torch.einsum("nc,chw->nhw", queries.double(), dense)


@pytest.mark.parametrize("patch", [14, 16])
def test_paper_agrees_with_its_plain_twin(patch):
    target = random_map(6, rows=7, cols=7, patch=patch)
    queries = F.normalize(torch.randn(40, 12, generator=torch.Generator().manual_seed(7)), dim=1)
    dense = plain_paper(queries, target)
    found = locate_paper(queries, target)
    xy = found.xy1.long()
    at = dense[torch.arange(40), xy[:, 1], xy[:, 0]]
    assert torch.allclose(at, dense.flatten(1).max(1).values, atol=1e-5)
    assert torch.allclose(at.float(), found.score, atol=1e-5)


def test_paper_wants_whole_pixels():
    target = FeatureMap(torch.randn(3, 4, 4), (13.5, 13.5), (7.0, 7.0), (54, 54))
    with pytest.raises(EquiviewError, match="token centres on whole pixels"):
        locate_paper(torch.eye(3), target)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["img112", "img98_smooth", "img112_unequal_norms"])
def test_parity_of_the_published_step(golden, case):
    data = np.load(golden / "f09_transfer_step.npz")
    size = int(data[f"{case}/in/img_size"])
    source, target = (
        FeatureMap(torch.from_numpy(data[f"{case}/in/desc_map_{name}"]), (14.0, 14.0), (7.0, 7.0), (size, size))
        for name in ("source", "target")
    )
    queries = descriptors(source, torch.from_numpy(data[f"{case}/in/kps_source"][:, :2]))
    np.testing.assert_allclose(queries, data[f"{case}/out/keypoint_descriptors"], atol=1e-5)
    found = transfer_maps(source, torch.from_numpy(data[f"{case}/in/kps_source"][:, :2]), target, Localise("paper"))
    np.testing.assert_allclose(found.score, data[f"{case}/out/max_similarity"], atol=1e-5)
    alone = data[f"{case}/out/n_pixels_tied_with_max"] == 1
    assert alone.any()
    np.testing.assert_array_equal(found.xy1.numpy()[alone], data[f"{case}/out/pred_xy_all"][alone])
    xy = found.xy1.long()
    at = plain_paper(queries, target)[torch.arange(len(xy)), xy[:, 1], xy[:, 0]]
    np.testing.assert_allclose(at, data[f"{case}/out/max_similarity"], atol=1e-5)


class Colours:
    """Features that are the colours of an 8 px cell and of the one to its right: they know left from right."""

    def maps(self, views):
        for rgb in views:
            cells = F.avg_pool2d(torch.from_numpy(rgb.copy()).permute(2, 0, 1).float() - 127, 8)
            yield FeatureMap(torch.cat([cells, cells.roll(-1, 2)]), (8.0, 8.0), (4.0, 4.0), rgb.shape[:2])


def test_flips_find_the_mirrored_picture():
    rgb = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    asymmetric = np.repeat(np.repeat(rgb[::8, ::8], 8, 0), 8, 1)
    xy0 = np.array([[12.0, 20.0], [76.0, 44.0], [36.0, 4.0]])
    there = np.stack([96 - xy0[:, 0], xy0[:, 1]], 1)
    mirror = np.ascontiguousarray(asymmetric[:, ::-1])
    assert np.abs(transfer(Colours(), asymmetric, xy0, mirror).xy1.numpy() - there).max() > 4.0
    found = transfer(Colours(), asymmetric, xy0, mirror, flips=True)
    np.testing.assert_allclose(found.xy1, there, atol=4.0)
    same = transfer(Colours(), asymmetric, xy0, asymmetric, flips=True)
    np.testing.assert_allclose(same.xy1, xy0, atol=4.0)


@pytest.mark.parametrize(
    "xy0", [np.zeros((0, 2)), np.array([[70.0, 5.0]]), np.array([[np.nan, 5.0]]), np.array([[5.0, -1.0]])]
)
def test_points_outside_are_refused(xy0):
    rgb = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(EquiviewError, match="key point"):
        transfer(NoiseExtractor(), rgb, xy0, rgb)


@pytest.mark.parametrize("wrong", [{"method": "nearest"}, {"window": 4}, {"window": 0}, {"temperature": 0.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(EquiviewError, match=f"{'localisation' if 'method' in wrong else next(iter(wrong))}"):
        Localise(**wrong)
