"""Matching: agrees with its plain twin, recovers sub-token shifts, and stays inside the mask."""

import pytest
import torch
import torch.nn.functional as F

from equiview.errors import EquiviewError
from equiview.matching import nearest as matching
from equiview.matching.match import match
from equiview.matching.nearest import token_mask
from equiview.sampling import token_centers
from equiview.types import FeatureMap


def random_map(seed, c=16, rows=9, cols=12, stride=8.0):
    tokens = torch.randn(c, rows, cols, generator=torch.Generator().manual_seed(seed))
    return FeatureMap(tokens, (stride, stride), (stride / 2, stride / 2), (int(rows * stride), int(cols * stride)))


def plain_nearest(descriptors, fmap):
    """The plain twin: every similarity at once."""
    tokens = F.normalize(fmap.tokens.flatten(1), dim=0)
    score, best = (descriptors @ tokens).max(1)
    return token_centers(fmap)[best], score


def test_agrees_with_the_plain_twin_also_in_chunks(monkeypatch):
    fmap = random_map(0)
    queries = F.normalize(torch.randn(50, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    xy, score = plain_nearest(queries, fmap)
    monkeypatch.setattr(matching, "CHUNK_SIMILARITIES", 700)
    found = match(queries, fmap, subtoken=False)
    assert torch.equal(found.xy1, xy)
    assert torch.allclose(found.score, score)
    fine = match(queries, fmap)
    assert ((fine.xy1 - xy).abs() <= 4.0 + 1e-5).all()


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.2), (-0.35, 0.3)])
def test_the_fit_recovers_a_shift_below_one_token(shift):
    """Features that vary smoothly in space peak between tokens; the parabola finds where."""
    generator = torch.Generator().manual_seed(2)
    directions = torch.randn(64, 2, generator=generator) * 0.5

    def feature(xy):
        # Cosine and sine together: the similarity depends on the displacement alone, and evenly.
        angle = xy @ directions.T
        return F.normalize(torch.cat([angle.cos(), angle.sin()], -1), dim=-1)

    ys, xs = torch.meshgrid(torch.arange(11.0), torch.arange(11.0), indexing="ij")
    tokens = feature(torch.stack([xs, ys], -1).reshape(-1, 2)).T.reshape(128, 11, 11)
    fmap = FeatureMap(tokens, (16.0, 16.0), (8.0, 8.0), (176, 176))
    where = torch.tensor([[5 + shift[0], 5 + shift[1]]])
    found = match(feature(where), fmap).xy1
    assert (found - (where * 16 + 8)).abs().max() < 1.2
    assert (match(feature(where), fmap, subtoken=False).xy1 - 88).abs().max() == 0


def test_the_border_gets_no_offset_across_it():
    tokens = torch.zeros(4, 3, 3)
    tokens[0, 0, 0] = 1
    tokens[1] = 0.5
    fmap = FeatureMap(tokens, (8.0, 8.0), (4.0, 4.0), (24, 24))
    assert match(torch.tensor([[1.0, 0, 0, 0]]), fmap).xy1.tolist() == [[4.0, 4.0]]


def test_a_mask_restricts_the_winner():
    fmap = random_map(3)
    mask = torch.zeros(72, 96, dtype=torch.bool)
    mask[16:40, 32:64] = True
    allowed = token_mask(fmap, mask)
    assert allowed.sum() == 3 * 4
    queries = F.normalize(torch.randn(40, 16), dim=1)
    xy = match(queries, fmap, allowed, subtoken=False).xy1
    assert mask[xy[:, 1].long(), xy[:, 0].long()].all()
    with pytest.raises(EquiviewError, match="none"):
        match(queries, fmap, torch.zeros_like(allowed))


def test_no_queries_no_matches():
    assert match(torch.zeros(0, 16), random_map(0)).xy1.shape == (0, 2)
