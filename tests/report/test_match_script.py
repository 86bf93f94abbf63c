"""The live page's matching in JavaScript against the Python it stands for, on the same numbers."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from equiview import report
from equiview.draw.live.maps import packed_queries
from equiview.matching.localise import Localise, fit, rows
from equiview.matching.match import match
from equiview.sampling import pixel_from_token, token_from_pixel
from equiview.types import FeatureMap

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no node on this machine")
SCRIPT = report.__path__[0] + "/script/match.js"
SIZES = [(7, 9), (1, 9), (7, 1), (2, 5), (1, 1), (2, 2), (3, 3)]


def javascript(expression, given):
    """Return the value of an expression over `given`, beside the functions of match.js."""
    code = f"const given = JSON.parse(require('fs').readFileSync(0)); console.log(JSON.stringify({expression}));"
    with open(SCRIPT, encoding="utf-8") as file:
        text = file.read() + code
    done = subprocess.run([NODE, "-e", text], input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def map_of(hw, channels=5, seed=0):
    tokens = torch.randn(channels, *hw, generator=torch.Generator().manual_seed(seed))
    return FeatureMap(F.normalize(tokens, dim=0), (8.0, 9.5), (4.0, 4.25), (round(hw[0] * 9.5), hw[1] * 8))


def view_of(fmap):
    return {"grid": fmap.hw, "stride": fmap.stride_xy, "offset": fmap.offset_xy}


def best_matches(similarity, fmap):
    given = {"view": view_of(fmap), "rows": similarity.flatten(1).tolist()}
    return javascript("given.rows.map((row) => bestMatch(Float32Array.from(row), given.view))", given)


@pytest.mark.parametrize("hw", SIZES)
def test_the_best_place_is_that_of_python(hw):
    """Random maps, whose winners lie on borders and corners as often as inside."""
    fmap, similarity = map_of(hw), torch.rand(120, hw[0] * hw[1], generator=torch.Generator().manual_seed(1))
    found, best = best_matches(similarity, fmap), similarity.argmax(1)
    expected = pixel_from_token(fmap, fit(rows(similarity), best, hw, Localise()))
    assert [one["token"] for one in found] == [[int(b) % hw[1], int(b) // hw[1]] for b in best]
    np.testing.assert_allclose([one["xy"] for one in found], expected, atol=1e-3)
    np.testing.assert_allclose([one["cosine"] for one in found], similarity.amax(1), atol=1e-7)


def test_winners_on_the_border_stay_on_the_outermost_centre():
    fmap = map_of((4, 5))
    x, y = (axis.float() for axis in torch.meshgrid(torch.arange(5), torch.arange(4), indexing="xy"))
    peaks = [(0.3, 1.2), (3.8, 2.4), (1.7, 0.4), (2.2, 2.7), (-0.4, 3.4)]
    similarity = torch.stack([1 - 0.01 * ((x - a) ** 2 + (y - b) ** 2) for a, b in peaks])
    found = np.array([one["xy"] for one in best_matches(similarity, fmap)])
    tokens = token_from_pixel(fmap, torch.from_numpy(found)).numpy()
    np.testing.assert_allclose(tokens, [(0, 1.2), (4, 2.4), (1.7, 0), (2.2, 3), (0, 3)], atol=1e-4)
    expected = fit(rows(similarity.flatten(1)), similarity.flatten(1).argmax(1), (4, 5), Localise())
    np.testing.assert_allclose(tokens, expected, atol=1e-4)


def test_ties_and_level_ground_are_those_of_python():
    """Three levels on 42 tokens: the first of the highest wins, and neighbours are often as high."""
    fmap, hw = map_of((6, 7)), (6, 7)
    similarity = torch.randint(0, 3, (100, 42), generator=torch.Generator().manual_seed(6)) / 4
    similarity[0] = 0.25
    expected = pixel_from_token(fmap, fit(rows(similarity), similarity.argmax(1), hw, Localise()))
    np.testing.assert_allclose([one["xy"] for one in best_matches(similarity, fmap)], expected, atol=1e-4)


def test_pixels_and_tokens_are_those_of_python():
    fmap = map_of((6, 8))
    xy = torch.rand(40, 2, generator=torch.Generator().manual_seed(2)).double() * 60 - 5
    given = {"view": view_of(fmap), "xy": xy.tolist()}
    tokens = javascript("given.xy.map((xy) => tokenFromPixel(given.view, xy))", given)
    np.testing.assert_allclose(tokens, token_from_pixel(fmap, xy), atol=1e-12)
    back = javascript("given.xy.map((xy) => pixelFromToken(given.view, tokenFromPixel(given.view, xy)))", given)
    np.testing.assert_allclose(back, xy, atol=1e-12)


@pytest.mark.parametrize("hw", SIZES)
def test_a_query_between_tokens_and_its_match_are_those_of_python(hw):
    """From a point of one map to a place in another, points outside the outermost centres included."""
    source, target = map_of(hw, seed=3), map_of(hw, seed=4)
    xy = torch.rand(60, 2, generator=torch.Generator().manual_seed(5)) * torch.tensor(source.image_hw[::-1])
    maps = [fmap.tokens.flatten(1).T.flatten().tolist() for fmap in (source, target)]
    given = {"view": view_of(source), "xy": xy.tolist(), "maps": maps}
    expression = (
        "(([a, b]) => given.xy.map((xy) => bestMatch(cosines(queryAt(a, 4, given.view, xy), b, 4), given.view)))"
        "(given.maps.map((one) => Float32Array.from(one)))"
    )
    found = javascript(expression, given)
    expected = match(packed_queries(source, xy), target)
    np.testing.assert_allclose([one["cosine"] for one in found], expected.score, atol=1e-5)
    np.testing.assert_allclose([one["xy"] for one in found], expected.xy1, atol=5e-3)
