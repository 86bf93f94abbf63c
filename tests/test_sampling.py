"""Laws of pixels and tokens, and parity with the reference's sampling function."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from equiview.sampling import descriptors, pixel_from_token, sample, sample_grid, token_centers, token_from_pixel
from equiview.types import FeatureMap

GEOMETRIES = [(14, 14, (112, 84)), (14, 7, (115, 90)), (16, 16, (50, 133)), (16, 8, (64, 64)), (14, 5, (97, 61))]


def _map(patch: int, stride: int, hw: tuple[int, int], seed: int = 0) -> FeatureMap:
    rows, cols = (1 + (side - patch) // stride for side in hw)
    tokens = torch.randn(6, rows, cols, generator=torch.Generator().manual_seed(seed))
    return FeatureMap(tokens, (float(stride),) * 2, (patch / 2,) * 2, hw)


@pytest.fixture(params=GEOMETRIES, ids=lambda g: f"p{g[0]}s{g[1]}")
def fmap(request: pytest.FixtureRequest) -> FeatureMap:
    return _map(*request.param)


def test_pixel_and_token_are_inverse(fmap: FeatureMap) -> None:
    xy = torch.rand(50, 2, generator=torch.Generator().manual_seed(1)) * 100
    torch.testing.assert_close(pixel_from_token(fmap, token_from_pixel(fmap, xy)), xy, atol=1e-4, rtol=0)


def test_first_token_is_the_middle_of_the_first_patch() -> None:
    assert token_centers(_map(14, 14, (28, 28)))[0].tolist() == [7.0, 7.0]
    assert token_centers(_map(14, 7, (28, 28)))[1].tolist() == [14.0, 7.0]


def test_sampling_at_centres_returns_the_tokens(fmap: FeatureMap) -> None:
    expected = fmap.tokens.flatten(1).T
    torch.testing.assert_close(sample(fmap, token_centers(fmap)), expected, atol=1e-5, rtol=1e-5)
    unit = F.normalize(expected, dim=1)
    torch.testing.assert_close(descriptors(fmap, token_centers(fmap)), unit, atol=1e-5, rtol=1e-5)


def test_halfway_is_the_mean_and_outside_is_the_border(fmap: FeatureMap) -> None:
    (ox, oy), (sx, _) = fmap.offset_xy, fmap.stride_xy
    halfway = sample(fmap, torch.tensor([[ox + sx / 2, oy]]))[0]
    torch.testing.assert_close(halfway, fmap.tokens[:, 0, :2].mean(1), atol=1e-5, rtol=1e-5)
    outside = sample(fmap, torch.tensor([[-50.0, -50.0], [1e4, 1e4]]))
    torch.testing.assert_close(outside, torch.stack([fmap.tokens[:, 0, 0], fmap.tokens[:, -1, -1]]))


def test_a_linear_field_is_reproduced(fmap: FeatureMap) -> None:
    """Tokens that hold their own pixel coordinates give back the pixel asked for: no hidden half-pixel shift."""
    centres = token_centers(fmap)
    field = fmap.replace_tokens(centres.T.reshape(2, *fmap.hw))
    low, high = centres.min(0).values, centres.max(0).values
    xy = low + torch.rand(200, 2, generator=torch.Generator().manual_seed(2)) * (high - low)
    torch.testing.assert_close(sample(field, xy), xy, atol=1e-3, rtol=0)


def test_scaling_the_image_moves_nothing(fmap: FeatureMap) -> None:
    """The same tokens for a picture twice as large: twice the pixel, the same feature."""
    (sx, sy), (ox, oy), (h, w) = fmap.stride_xy, fmap.offset_xy, fmap.image_hw
    double = FeatureMap(fmap.tokens, (2 * sx, 2 * sy), (2 * ox, 2 * oy), (2 * h, 2 * w))
    xy = torch.rand(50, 2, generator=torch.Generator().manual_seed(3)) * torch.tensor([w, h])
    torch.testing.assert_close(sample(double, 2 * xy), sample(fmap, xy), atol=1e-5, rtol=1e-5)


def _conv_map(image: torch.Tensor, patch: int, stride: int) -> FeatureMap:
    """A convolution in place of a network: what it sees moves exactly with the image."""
    weight = torch.randn(4, 1, patch, patch, generator=torch.Generator().manual_seed(4))
    tokens = F.conv2d(image[None], weight, stride=stride)[0]
    return FeatureMap(tokens, (float(stride),) * 2, (patch / 2,) * 2, tuple(image.shape[1:]))


@pytest.mark.parametrize(("patch", "stride"), [(14, 14), (14, 7), (16, 16), (16, 8)])
def test_an_image_shift_by_one_stride_shifts_the_features(patch: int, stride: int) -> None:
    image = torch.rand(1, 9 * patch + 3, 7 * patch + 5, generator=torch.Generator().manual_seed(5))
    shifted = torch.roll(image, (2 * stride, stride), (1, 2))
    xy = torch.rand(50, 2, generator=torch.Generator().manual_seed(6)) * 3 * patch + 2 * patch
    moved = xy + torch.tensor([stride, 2 * stride])
    found, expected = (sample(_conv_map(i, patch, stride), p) for i, p in ((shifted, moved), (image, xy)))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_equals_a_plain_bilinear_loop(fmap: FeatureMap) -> None:
    xy = torch.rand(40, 2, generator=torch.Generator().manual_seed(7)) * 140 - 10
    rows, cols = fmap.hw
    for point, found in zip(token_from_pixel(fmap, xy), sample(fmap, xy), strict=True):
        x, y = float(point[0].clamp(0, cols - 1)), float(point[1].clamp(0, rows - 1))
        j, i = min(int(x), max(cols - 2, 0)), min(int(y), max(rows - 2, 0))
        corners = fmap.tokens[:, i : i + 2, j : j + 2]
        wx, wy = torch.tensor([1 - (x - j), x - j]), torch.tensor([1 - (y - i), y - i])
        expected = torch.einsum("cyx,y,x->c", corners, wy[: corners.shape[1]], wx[: corners.shape[2]])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_gradients_reach_tokens_and_points() -> None:
    maps = torch.randn(1, 3, 5, 4, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    points = torch.tensor([[[0.3, 0.4], [2.2, 3.7], [1.5, 1.5]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(sample_grid, (maps.requires_grad_(True), points.requires_grad_(True)))


REFERENCE_CASES = ["p14s14_square", "p14s14_odd", "p14s7_odd", "p14s7_multiple", "p16s16", "batch2", "timm_mismatch"]


@pytest.mark.shared
@pytest.mark.parametrize("case", REFERENCE_CASES)
def test_golden_sampling(golden: Path, case: str) -> None:
    data = np.load(golden / "f01_interpolate_features.npz")
    maps = torch.from_numpy(data[f"{case}/in/descriptors"])
    points = torch.from_numpy(data[f"{case}/in/pts"])
    patch, stride, h, w = (int(data[f"{case}/in/{key}"]) for key in ("patch_size", "stride", "h", "w"))
    # A map of another size than the reference expects is stretched so that its corners stay: another stride.
    stretch_x, stretch_y = (
        (1 + (side - patch) // stride - 1) / (count - 1) for side, count in ((w, maps.shape[3]), (h, maps.shape[2]))
    )
    strides = (stride * stretch_x, stride * stretch_y)
    read = descriptors if data[f"{case}/in/normalize"] else sample
    for number, (one, xy) in enumerate(zip(maps, points, strict=True)):
        fmap = FeatureMap(one, strides, (patch / 2,) * 2, (h, w))
        found = read(fmap, xy).T.detach().numpy()
        np.testing.assert_allclose(found, data[f"{case}/out/features"][number], atol=1e-5)
        # In double: rounding of the float32 grid alone reaches the tolerance where short vectors are normalised.
        tokens = one.detach().double().requires_grad_(True)
        features = sample(fmap.replace_tokens(tokens), xy.double())
        features = F.normalize(features, dim=-1, eps=1e-12) if read is descriptors else features
        features.backward(torch.from_numpy(data[f"{case}/in/cotangent"][number]).double().T)
        np.testing.assert_allclose(tokens.grad.numpy(), data[f"{case}/out/grad_descriptors"][number], atol=1e-5)


@pytest.mark.shared
def test_golden_single_row_works_here(golden: Path) -> None:
    """The reference divides by zero when there is one token row; a stride and an offset do not."""
    data = np.load(golden / "f01_interpolate_features.npz")
    case = "single_row_degenerate"
    assert str(data[f"{case}/out/error"]) == "ZeroDivisionError"
    fmap = FeatureMap(torch.from_numpy(data[f"{case}/in/descriptors"])[0], (14.0, 14.0), (7.0, 7.0), (14, 56))
    torch.testing.assert_close(sample(fmap, token_centers(fmap)), fmap.tokens.flatten(1).T)
