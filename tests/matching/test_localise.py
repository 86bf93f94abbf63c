"""The fit between tokens: exact on the surfaces it assumes, the same in any orientation, one rule at the border."""

import pytest
import torch
import torch.nn.functional as F

from equiview.errors import EquiviewError
from equiview.matching.localise import Localise, dots, fit, rows
from equiview.matching.match import match, match_regions, subtoken_xy
from equiview.matching.tracking import TrackConfig
from equiview.sampling import pixel_from_token
from equiview.tasks.equivariance import MeasureConfig
from equiview.tasks.transfer import TransferConfig, recorded
from equiview.types import FeatureMap

BORDERS = ("centre", "extrapolate")
EVERY = [Localise(m, 3, 0.3, b) for m in ("token", "parabola", "quadratic", "window") for b in BORDERS]
SIZES = [(7, 9), (1, 9), (7, 1), (2, 5), (1, 1), (2, 2), (3, 3)]


def name(localise):
    return f"{localise.method}-{localise.border}"


def fitted(maps, localise, best=None):
    """Fit maps [n, rows, cols], around their maximum where no winner is given."""
    similarity = maps.flatten(1).float()
    best = similarity.argmax(1) if best is None else best
    return fit(rows(similarity), best, tuple(maps.shape[1:]), localise)


def noise(hw, n=200, seed=0):
    return torch.rand(n, *hw, generator=torch.Generator().manual_seed(seed))


def grid(hw):
    y, x = torch.meshgrid(torch.arange(hw[0]).double(), torch.arange(hw[1]).double(), indexing="ij")
    return x, y


def hill(hw, peak, curvature=(0.01, 0.02), mixed=0.0):
    """One map with an exactly quadratic peak at `peak` (token coordinates)."""
    x, y = grid(hw)
    x, y = x - peak[0], y - peak[1]
    return (1 - curvature[0] * x**2 - curvature[1] * y**2 - mixed * x * y)[None]


@pytest.mark.parametrize("localise", EVERY, ids=name)
@pytest.mark.parametrize("hw", SIZES)
def test_a_flipped_or_transposed_map_has_a_flipped_or_transposed_answer(localise, hw):
    maps = noise(hw)
    xy = fitted(maps, localise)
    right = torch.stack([hw[1] - 1 - xy[:, 0], xy[:, 1]], 1)
    torch.testing.assert_close(fitted(maps.flip(2), localise), right, atol=1e-4, rtol=0)
    down = torch.stack([xy[:, 0], hw[0] - 1 - xy[:, 1]], 1)
    torch.testing.assert_close(fitted(maps.flip(1), localise), down, atol=1e-4, rtol=0)
    torch.testing.assert_close(fitted(maps.mT, localise), xy.flip(1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("localise", EVERY, ids=name)
def test_a_shifted_map_has_a_shifted_answer(localise):
    """Away from the border: the map is laid into two larger ones."""
    maps = noise((5, 6))
    row, col = (maps.flatten(1).argmax(1) // 6, maps.flatten(1).argmax(1) % 6)
    inner = maps[(row > 0) & (row < 4) & (col > 0) & (col < 5)]
    here, there = (fitted(F.pad(inner, pad, value=-1.0), localise) for pad in ((1, 5, 1, 4), (4, 2, 3, 2)))
    torch.testing.assert_close(here + torch.tensor([3.0, 2.0]), there, atol=1e-4, rtol=0)


@pytest.mark.parametrize("localise", EVERY, ids=name)
def test_a_constant_changes_nothing(localise):
    maps = noise((6, 7))
    torch.testing.assert_close(fitted(maps - 0.5, localise), fitted(maps, localise), atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["parabola", "quadratic"])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("peak", [(3.0, 2.0), (3.3, 1.8), (4.49, 3.51), (1.0, 4.2)])
def test_an_exact_peak_inside_is_recovered(method, border, peak):
    found = fitted(hill((6, 8), peak), Localise(method, border=border))
    assert found[0].tolist() == pytest.approx(peak, abs=2e-4)


@pytest.mark.parametrize("peak", [(0.2, 2.3), (-0.4, 2.3), (7.3, 2.3), (6.8, 2.3), (3.3, -0.2), (3.3, 5.4), (7.4, 5.4)])
@pytest.mark.parametrize("method", ["parabola", "quadratic"])
def test_the_two_rules_for_a_winner_on_the_border(method, peak):
    """`extrapolate` recovers a peak up to half a token outside; `centre` keeps the axis that lacks a neighbour."""
    maps, hw = hill((6, 8), peak), (6, 8)
    beyond = fitted(maps, Localise(method, border="extrapolate"))[0]
    assert beyond.tolist() == pytest.approx(peak, abs=2e-4)
    kept = fitted(maps, Localise(method, border="centre"))[0]
    for axis in (0, 1):
        last = hw[1 - axis] - 1
        expected = round(peak[axis]) if round(peak[axis]) in (0, last) else peak[axis]
        assert float(kept[axis]) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("localise", EVERY, ids=name)
def test_how_far_an_answer_may_lie(localise, hw):
    """With `centre` never outside the outermost centres, with `extrapolate` at most half a token."""
    maps = noise(hw)
    best = maps.flatten(1).argmax(1)
    xy, winner = fitted(maps, localise), torch.stack([best % hw[1], best // hw[1]], 1)
    assert ((xy - winner).abs() <= (0.5 if localise.method in ("token", "parabola") else 1.0)).all()
    slack = 0.5 if localise.border == "extrapolate" and localise.method in ("parabola", "quadratic") else 0.0
    outside = torch.maximum(-xy, xy - torch.tensor([hw[1] - 1, hw[0] - 1]))
    assert outside.max() <= slack
    if min(hw) >= 3 and slack:
        assert outside.max() > 0, "the rule must show, or this test says nothing"
    if localise.border == "centre" or localise.method == "window":
        edge = (winner == 0) | (winner == torch.tensor([hw[1] - 1, hw[0] - 1]))
        assert torch.equal(xy[edge], winner[edge].float())


@pytest.mark.parametrize("localise", EVERY, ids=name)
def test_one_row_is_one_axis(localise):
    xy = fitted(noise((1, 9)), localise)
    assert (xy[:, 1] == 0).all()
    assert fitted(noise((1, 1)), localise).tolist() == [[0.0, 0.0]] * 200
    if localise.method == "parabola":
        assert ((xy[:, 0] % 1) != 0).any()


def test_only_the_quadratic_follows_a_slanted_ridge():
    peak = (3.3, 2.7)
    maps = hill((6, 8), peak, (0.02, 0.02), mixed=0.03)
    assert fitted(maps, Localise("quadratic"))[0].tolist() == pytest.approx(peak, abs=5e-4)
    assert (fitted(maps, Localise("parabola"))[0] - torch.tensor(peak)).abs().max() > 0.1


@pytest.mark.parametrize("method", ["parabola", "quadratic"])
def test_no_peak_no_offset_and_a_far_one_is_not_reached(method):
    """Level ground, a slope, and a winner beside a higher token that was not allowed to win."""
    level = torch.full((1, 5, 5), 0.5)
    assert fitted(level, Localise(method), torch.tensor([12])).tolist() == [[2.0, 2.0]]
    slope = torch.arange(5.0).repeat(5, 1)[None]
    assert fitted(slope, Localise(method, border="extrapolate"), torch.tensor([12])).tolist() == [[2.0, 2.0]]
    peak = hill((5, 5), (2.0, 2.0))
    # The top lies a whole token away: the parabola goes half of it, the quadratic all of it.
    reached = 1.5 if method == "parabola" else 2.0
    found = fitted(peak, Localise(method), torch.tensor([11]))
    torch.testing.assert_close(found, torch.tensor([[reached, 2.0]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("localise", EVERY, ids=name)
@pytest.mark.parametrize("hw", SIZES)
def test_similarities_made_when_asked_for_give_the_same(localise, hw):
    generator = torch.Generator().manual_seed(1)
    target = FeatureMap(torch.randn(6, *hw, generator=generator), (8.0, 9.0), (4.0, 4.5), (hw[0] * 9, hw[1] * 8))
    queries = F.normalize(torch.randn(50, 6, generator=generator), dim=1)
    similarity = queries @ F.normalize(target.tokens.flatten(1), dim=0)
    best = similarity.argmax(1)
    expected = fit(rows(similarity), best, hw, localise)
    torch.testing.assert_close(fit(dots(queries, target), best, hw, localise), expected, atol=1e-3, rtol=0)
    xy = pixel_from_token(target, expected)
    torch.testing.assert_close(subtoken_xy(target, queries, best, localise), xy, atol=1e-2, rtol=0)
    torch.testing.assert_close(match_regions(queries, target, [None], localise)[0].xy1, xy, atol=1e-2, rtol=0)


def test_a_region_for_each_query_is_a_region():
    generator = torch.Generator().manual_seed(2)
    target = FeatureMap(torch.randn(6, 5, 7, generator=generator), (8.0, 8.0), (4.0, 4.0), (40, 56))
    queries = F.normalize(torch.randn(30, 6, generator=generator), dim=1)
    masks = torch.rand(30, 35, generator=generator) < 0.3
    masks[:, 17] = True
    found = match_regions(queries, target, [lambda part: masks[part]])[0]
    for number in range(30):
        alone = match(queries[number : number + 1], target, masks[number])
        torch.testing.assert_close(found.xy1[number], alone.xy1[0], atol=1e-4, rtol=0)


def test_each_task_states_its_rule():
    assert MeasureConfig().localise == TransferConfig().localise == Localise("parabola", border="centre")
    assert MeasureConfig(subtoken=False).localise.method == "token"
    assert TrackConfig().localise == Localise("quadratic", 3, 0.05, "extrapolate")
    assert TrackConfig("window", window=2, temperature=0.15).localise == Localise("window", 5, 0.15, "extrapolate")


def test_argmax_is_another_name_and_the_one_in_records_of_transfer():
    assert Localise("argmax") == Localise("parabola")
    assert recorded(Localise("argmax")) == {"method": "argmax", "window": 5, "temperature": 0.02}
    assert recorded(Localise("window", border="extrapolate")) == {
        "method": "window", "window": 5, "temperature": 0.02, "border": "extrapolate"
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [{"border": "wrap"}, {"method": "parabolic"}])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(EquiviewError, match=next(iter(wrong.values()))):
        Localise(**wrong)
    with pytest.raises(EquiviewError, match="localisation: expected quadratic or"):
        TrackConfig("paper")
    with pytest.raises(EquiviewError, match="for `transfer` alone"):
        fitted(noise((3, 3)), Localise("paper"))
