"""Mutual nearest neighbours: the same as the whole matrix of similarities, in any number of pieces."""

import pytest
import torch
import torch.nn.functional as F

from equiview.matching import nearest as matching
from equiview.matching.match import match, subtoken_xy
from equiview.matching.nearest import mutual_nearest
from equiview.types import FeatureMap


def plain(a, b, allowed=None):
    """The twin: one matrix."""
    similarity = a @ b.T
    if allowed is not None:
        similarity = similarity.masked_fill(~allowed, -torch.inf)
    best_0, best_1 = similarity.argmax(1), similarity.argmax(0)
    rows = torch.arange(len(a))
    keep = (best_1[best_0] == rows) & torch.isfinite(similarity.max(1).values)
    return rows[keep], best_0[keep], similarity.max(1).values[keep]


@pytest.fixture
def sets():
    generator = torch.Generator().manual_seed(0)
    return tuple(F.normalize(torch.randn(n, 8, generator=generator), dim=1) for n in (57, 83))


@pytest.mark.parametrize("budget", [1, 100, 83 * 20, 10**7])
def test_pieces_do_not_matter(sets, monkeypatch, budget):
    monkeypatch.setattr(matching, "CHUNK_SIMILARITIES", budget)
    for found, expected in zip(mutual_nearest(*sets), plain(*sets), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("budget", [100, 10**7])
def test_only_allowed_partners(sets, monkeypatch, budget):
    monkeypatch.setattr(matching, "CHUNK_SIMILARITIES", budget)
    allowed = torch.rand(57, 83, generator=torch.Generator().manual_seed(1)) < 0.1
    allowed[3] = False
    for found, expected in zip(mutual_nearest(*sets, lambda rows: allowed[rows]), plain(*sets, allowed), strict=True):
        torch.testing.assert_close(found, expected)


def test_order_of_the_sets_does_not_matter(sets):
    forth, back = mutual_nearest(*sets), mutual_nearest(*sets[::-1])
    assert set(zip(forth[0].tolist(), forth[1].tolist(), strict=True)) == set(
        zip(back[1].tolist(), back[0].tolist(), strict=True)
    )


def test_a_set_matches_itself_and_nothing_matches_nothing(sets):
    index_0, index_1, score = mutual_nearest(sets[0], sets[0])
    torch.testing.assert_close(index_0, index_1)
    torch.testing.assert_close(score, torch.ones(57))
    assert [len(part) for part in mutual_nearest(sets[0], sets[1][:0])] == [0, 0, 0]


def test_subtoken_place_is_that_of_match():
    generator = torch.Generator().manual_seed(2)
    fmap = FeatureMap(torch.randn(6, 5, 7, generator=generator), (8.0, 9.0), (4.0, 4.5), (45, 56))
    queries = F.normalize(torch.randn(40, 6, generator=generator), dim=1)
    expected = match(queries, fmap).xy1
    centre = match(queries, fmap, subtoken=False).xy1
    token = ((centre - torch.tensor([4.0, 4.5])) / torch.tensor([8.0, 9.0])).round().long()
    torch.testing.assert_close(subtoken_xy(fmap, queries, token[:, 1] * 7 + token[:, 0]), expected)
