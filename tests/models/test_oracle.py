"""The doubles: the oracle matches perfectly away from depth edges, noise scores at chance."""

import json

import numpy as np
import pytest
import torch

from equiview.data.correspond import correspond, sample_surface
from equiview.errors import EquiviewError
from equiview.matching.match import match
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.sampling import descriptors, sample, token_centers
from worlds import camera_at, sphere_ring, sphere_view

HW = (128, 128)


def _pair_errors(extractor, stride: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixel errors of neighbouring views, and whether both ends are away from the silhouette."""
    views = sphere_ring(8, HW, focal_px=140.0)
    maps = list(extractor.maps(views[:2]))
    truth = correspond(views[0], views[1], sample_surface(views[0], 400, seed=0))
    query = descriptors(maps[0], torch.from_numpy(truth.xy0).float())
    found = match(query, maps[1]).xy1.numpy()
    safe = np.ones(len(truth), bool)
    for view, xy in ((views[0], truth.xy0), (views[1], truth.xy1)):
        centre = view.camera.intrinsics[:2, 2]
        # A sphere of radius 0.5 at distance ~2.04 has a silhouette of about 35 px here.
        edge = 140.0 * 0.5 / np.sqrt(2.0**2 + 0.4**2 - 0.25)
        safe &= np.linalg.norm(xy - centre, axis=1) < edge - 1.5 * stride
    return np.linalg.norm(found - truth.xy1, axis=1), safe


def test_oracle_matches_perfectly_away_from_edges() -> None:
    errors, safe = _pair_errors(OracleExtractor(stride_px=8), 8)
    assert safe.sum() > 30
    assert errors[safe].max() < 4.0
    assert errors[safe].mean() < 1.5


def test_noise_is_chance() -> None:
    errors, _ = _pair_errors(NoiseExtractor(32, seed=0, stride_px=8), 8)
    # Two random places in a square of side 1 are 0.52 apart on average; the truth is nearer the middle: 0.38 and up.
    assert 0.3 < errors.mean() / HW[0] < 0.6


def test_oracle_cosine_falls_with_distance() -> None:
    oracle = OracleExtractor(stride_px=4, radius=2.0)
    view = sphere_view(camera_at((2.0, 0.0, 0.4), HW, 140.0))
    (fmap,) = oracle.maps([view])
    tokens = fmap.tokens.flatten(1).T.double()
    inside = tokens.norm(dim=1) > 0
    assert 0.05 < inside.float().mean() < 0.9
    torch.testing.assert_close(tokens[inside].norm(dim=1), torch.ones(int(inside.sum())).double(), atol=1e-6, rtol=0)
    position = tokens[inside, :3] * 2.0
    distance = torch.cdist(position, position)
    cosine = tokens[inside] @ tokens[inside].T
    torch.testing.assert_close(cosine, 1 - distance.square() / 8, atol=1e-6, rtol=0)


@pytest.mark.parametrize("stride", [8, 16, 7.5])
def test_oracle_tokens_hold_the_point_behind_their_centre(stride: float) -> None:
    view = sphere_view(camera_at((2.0, 0.0, 0.4), HW, 140.0))
    (fmap,) = OracleExtractor(stride_px=stride).maps([view])
    assert fmap.image_hw == HW and fmap.hw == (int(128 // stride),) * 2
    centre = torch.tensor([[64.0, 64.0]])
    # The sphere's point nearest the camera is 0.5 along the viewing direction.
    direction = view.camera.center_in_world / np.linalg.norm(view.camera.center_in_world)
    nearest = token_centers(fmap)[(token_centers(fmap) - centre).norm(dim=1).argmin()][None]
    found = sample(fmap, nearest)[0, :3].double().numpy() * 2.0
    assert np.linalg.norm(found) == pytest.approx(0.5, abs=0.005)
    assert found @ direction > 0.45


def test_oracle_refuses_points_outside_its_sphere() -> None:
    with pytest.raises(EquiviewError, match="larger radius"):
        list(OracleExtractor(radius=0.4).maps(sphere_ring(1)))


def test_noise_depends_on_seed_and_picture_only() -> None:
    views = sphere_ring(3)
    noise = NoiseExtractor(8, seed=1)
    maps = [m.tokens for m in noise.maps(views)]
    again = [next(iter(noise.maps([v]))).tokens for v in reversed(views)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(maps, again, strict=True))
    assert not torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], next(iter(NoiseExtractor(8, seed=2).maps(views))).tokens)


def test_both_describe_themselves_in_json() -> None:
    for extractor, name in ((OracleExtractor(), "oracle"), (NoiseExtractor(), "noise")):
        record = extractor.describe()
        assert json.loads(json.dumps(record)) == record
        assert record["backbone"] == name
