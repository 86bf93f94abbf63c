"""The fast forms of heads that learn nothing, beside their plain twins."""

import pytest
import torch
import torch.nn.functional as F

from equiview.errors import EquiviewError
from equiview.finetune.stages.add_head import fixed_head
from equiview.models import exported_model
from equiview.models.fixed_heads import WhitenHead
from equiview.models.heads import build_head, head_spec

SIZES = [(90, 5, 7), (24, 9, 11)]
"""Fewer tokens than channels, and more."""


def _pictures(channels: int, rows: int, cols: int, decay: float = 0.15) -> torch.Tensor:
    """Two pictures whose variances fall off like those of real features, each along directions of its own."""
    generator = torch.Generator().manual_seed(3)
    few = min(channels, rows * cols)
    left = torch.linalg.qr(torch.randn(2, channels, few, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(2, rows * cols, few, generator=generator))[0]
    return (left * torch.exp(-decay * torch.arange(few)) @ right.mT).unflatten(2, (rows, cols)) * 30


def _cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return F.cosine_similarity(a, b, dim=1)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_low_rank_comes_to_the_exact_form_as_the_rank_grows(size: tuple[int, int, int]) -> None:
    maps = _pictures(*size)
    exact = WhitenHead()(maps)
    low = [_cosines(WhitenHead(method="low_rank", rank=rank)(maps), exact).mean() for rank in (1, 4, 10, 20)]
    assert low == sorted(low) and low[0] < 0.95 and low[-1] > 0.999
    # With every direction found it is the same computation.
    assert torch.equal(WhitenHead(method="low_rank", rank=min(size[0], size[1] * size[2]))(maps), exact)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rank", [6, 9])
def test_low_rank_is_exact_where_tokens_vary_in_no_more_directions(size: tuple[int, int, int], rank: int) -> None:
    generator = torch.Generator().manual_seed(1)
    factor = torch.randn(2, size[0], 6, generator=generator)
    maps = (factor @ torch.randn(2, 6, size[1] * size[2], generator=generator)).unflatten(2, size[1:])
    found = WhitenHead(method="low_rank", rank=rank)(maps)
    torch.testing.assert_close(found, WhitenHead()(maps), atol=2e-3, rtol=1e-3)


def test_low_rank_is_deterministic_and_sees_each_picture_alone() -> None:
    maps, head = _pictures(64, 12, 14), WhitenHead(method="low_rank", rank=16)
    state = torch.random.get_rng_state()
    found = head(maps)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(head(maps), found)
    torch.testing.assert_close(head(maps[:1]), found[:1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(head(100 * maps), 100 * found, atol=1e-3, rtol=1e-4)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        other = head(maps)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(other, found, atol=1e-5, rtol=1e-5)


def test_low_rank_takes_bf16_and_autocast() -> None:
    maps, head = _pictures(64, 12, 14), WhitenHead(method="low_rank", rank=16)
    found = head(maps)
    assert head(maps.bfloat16()).dtype == torch.bfloat16
    assert _cosines(head(maps.bfloat16()).float(), found).mean() > 0.999
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(maps), found)


@pytest.mark.parametrize("noise", [0.0, 1e-30, 1e-3])
@pytest.mark.parametrize("value", [0.0, 3.7, -1e4])
def test_low_rank_of_one_colour_is_finite(noise: float, value: float) -> None:
    maps = (value + noise * _pictures(64, 12, 14)).requires_grad_()
    found = WhitenHead(method="low_rank", rank=8)(maps)
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert torch.isfinite(maps.grad).all()
    if noise == value == 0:
        assert not found.any()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_low_rank_of_an_export_has_the_values_and_gradients_of_the_library(size: tuple[int, int, int]) -> None:
    weights = torch.randn(_pictures(*size).shape, generator=torch.Generator().manual_seed(1))
    values, gradients = [], []
    for head in (WhitenHead(0.6, 0.2, "low_rank", 7), exported_model.Whiten(0.6, 0.2, "low_rank", 7)):
        maps = _pictures(*size).requires_grad_()
        values.append(head(maps))
        (values[-1] * weights).sum().backward()
        gradients.append(maps.grad)
    assert torch.equal(*values) and torch.equal(*gradients) and gradients[0].abs().sum() > 0


def test_gradients_of_low_rank_take_the_matrix_as_given() -> None:
    maps, head = _pictures(24, 9, 11).requires_grad_(), WhitenHead(method="low_rank", rank=7)
    weights = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))
    (head(maps) * weights).sum().backward()
    # The matrix is symmetric, so the gradient is the same matrix applied to the weights.
    exact = WhitenHead()
    few = maps.detach().clone().requires_grad_()
    (exact(few) * weights).sum().backward()
    assert _cosines(maps.grad, few.grad).mean() > 0.9


def test_the_method_is_recorded_only_where_it_is_not_the_exact_one() -> None:
    assert head_spec(WhitenHead()) == [{"kind": "whiten", "power": 0.7, "ridge": 0.1}]
    low, exact = (head_spec(fixed_head(name, list)) for name in ("low_rank_whitened_average", "whitened_average"))
    assert [part["kind"] for part in low] == [part["kind"] for part in exact]
    assert low[2] == {"kind": "whiten", "power": 0.7, "ridge": 0.1, "method": "low_rank", "rank": 128}
    part = exported_model.build_head(low[2])
    assert (part.method, part.rank) == ("low_rank", 128) and exported_model.build_head(low[0]).kernel == 3
    for wrong in ({"method": "sometimes"}, {"rank": 0, "method": "low_rank"}, {"method": 3}, {"rank": "all"}):
        with pytest.raises(EquiviewError, match="method|rank"):
            build_head([low[2] | wrong])
