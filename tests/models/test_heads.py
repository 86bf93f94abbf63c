"""Heads: what they compute, that they start where they should, and that they survive JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import fractional_matrix_power
from torch import nn

from equiview.errors import EquiviewError
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.fixed_heads import DebiasHead
from equiview.models.heads import (
    AverageHead,
    CenterHead,
    FineHead,
    HeadChain,
    LinearHead,
    RandomConvHead,
    ResidualConvHead,
    WhitenHead,
    build_head,
    head_parts,
    head_spec,
    on_top,
    with_fine,
    without_fine,
)
from models.backbones.tiny import make_model, save


def _maps(channels: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, channels, 4, 6, generator=torch.Generator().manual_seed(seed))


def _linear(out: int = 3, channels: int = 5) -> LinearHead:
    generator = torch.Generator().manual_seed(1)
    return LinearHead(torch.randn(out, channels, generator=generator), torch.randn(channels, generator=generator))


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_average_equals_a_plain_loop(kernel: int) -> None:
    maps, reach = _maps(), kernel // 2
    found = AverageHead(kernel)(maps)
    for row in range(4):
        for col in range(6):
            rows = torch.arange(row - reach, row + reach + 1).clamp(0, 3)
            cols = torch.arange(col - reach, col + reach + 1).clamp(0, 5)
            torch.testing.assert_close(found[:, :, row, col], maps[:, :, rows][..., cols].mean((2, 3)))


def test_average_works_on_one_token_and_has_no_parameters() -> None:
    one = torch.ones(1, 2, 1, 1)
    assert torch.equal(AverageHead(3)(one), one)
    assert not list(AverageHead(3).parameters())
    for kernel in (0, 2, -1):
        with pytest.raises(EquiviewError, match="odd"):
            AverageHead(kernel)


def test_random_conv_is_torchs_own_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = nn.Conv2d(5, 5, 3, padding=1)
    state = torch.random.get_rng_state()
    head = RandomConvHead(5, seed=7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(head.conv.weight, expected.weight) and torch.equal(head.conv.bias, expected.bias)
    assert not torch.equal(head.conv.weight, RandomConvHead(5, seed=8).conv.weight)
    assert torch.equal(head(_maps()), expected(_maps()))


def test_residual_conv_starts_as_the_identity_and_learns() -> None:
    state = torch.random.get_rng_state()
    head = ResidualConvHead(5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(head(_maps()), _maps())
    head(_maps()).square().sum().backward()
    assert head.conv.weight.grad.abs().sum() > 0


def test_linear_is_w_times_the_centred_token() -> None:
    head = _linear()
    expected = (_maps().movedim(1, -1) - head.mean) @ head.matrix.T
    torch.testing.assert_close(head(_maps()).movedim(1, -1), expected)
    with pytest.raises(EquiviewError, match="5 channels"):
        head(_maps(4))
    with pytest.raises(EquiviewError, match=r"\[out, in\]"):
        LinearHead(torch.ones(3, 5), torch.ones(4))


def test_chain_applies_in_order() -> None:
    first, second = AverageHead(3), _linear()
    assert torch.equal(HeadChain([first, second])(_maps()), second(first(_maps())))


def test_center_is_the_mean_weighted_by_distance() -> None:
    maps = _maps()
    for one, found in zip(maps, CenterHead()(maps), strict=True):
        tokens = one.flatten(1).T
        weights = ((tokens - tokens.mean(0)) ** 2).sum(1)
        center = (weights[:, None] * tokens).sum(0) / weights.sum()
        torch.testing.assert_close(found.flatten(1).T, tokens - center)
    # A picture does not look at its neighbours in the batch, and what all its tokens share goes.
    assert torch.equal(CenterHead()(maps)[:1], CenterHead()(maps[:1]))
    torch.testing.assert_close(CenterHead()(maps + 7), CenterHead()(maps), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("noise", [0.0, 1e-30, 1e-6, 1e-3])
@pytest.mark.parametrize("value", [0.0, 3.7, -1e4])
def test_center_of_one_colour_is_finite(dtype: torch.dtype, noise: float, value: float) -> None:
    maps = (torch.full_like(_maps(), value) + noise * _maps()).to(dtype).requires_grad_()
    found = CenterHead()(maps)
    assert found.dtype == dtype and torch.isfinite(found).all()
    assert found.abs().max() <= 20 * noise + 1e-2 * (dtype == torch.bfloat16) * abs(value) + 1e-6 * abs(value)
    found.sum().backward()
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize("channels", [5, 40])
@pytest.mark.parametrize(("power", "ridge"), [(0.5, 1.0), (1.0, 0.1), (0.0, 2.0)])
def test_whiten_is_a_power_of_the_pictures_own_second_moment(channels: int, power: float, ridge: float) -> None:
    maps = torch.randn(2, channels, 4, 6, generator=torch.Generator().manual_seed(1))  # Fewer and more than 24 tokens.
    found = WhitenHead(power, ridge)(maps)
    for one, new in zip(maps, found, strict=True):
        tokens = one.flatten(1).double()
        moment = tokens @ tokens.T / 24
        relative = moment * channels / moment.trace() + ridge * torch.eye(channels)
        wanted = np.real(fractional_matrix_power(relative.numpy(), -power / 2)) @ tokens.numpy()
        torch.testing.assert_close(new.flatten(1).double(), torch.from_numpy(wanted), atol=1e-5, rtol=1e-4)
    # A picture does not look at its neighbours in the batch; turned features are whitened as much; scale goes along.
    torch.testing.assert_close(WhitenHead(power, ridge)(maps[:1]), found[:1])
    turn = torch.linalg.qr(torch.randn(channels, channels, generator=torch.Generator().manual_seed(2)))[0]
    turned = torch.einsum("dc,bchw->bdhw", turn, found)
    again = WhitenHead(power, ridge)(torch.einsum("dc,bchw->bdhw", turn, maps))
    torch.testing.assert_close(again, turned, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(WhitenHead(power, ridge)(100 * maps), 100 * found, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("noise", [0.0, 1e-30, 1e-3])
def test_whiten_of_one_colour_is_finite(dtype: torch.dtype, noise: float) -> None:
    maps = (3.7 + noise * _maps()).to(dtype).requires_grad_()
    found = WhitenHead()(CenterHead()(maps))
    assert found.dtype == dtype and torch.isfinite(found).all() and found.abs().max() <= 20 * noise + 0.1
    found.sum().backward()
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize(("power", "ridge"), [(-0.1, 1.0), (1.5, 1.0), (0.5, 0.0), (0.5, float("nan"))])
def test_whiten_refuses(power: float, ridge: float) -> None:
    with pytest.raises(EquiviewError, match="a power from 0 to 1, a ridge above 0"):
        WhitenHead(power, ridge)


def _square() -> LinearHead:
    return _linear(5)


def _moved() -> ResidualConvHead:
    head = ResidualConvHead(5)
    with torch.no_grad():
        head.conv.weight.normal_(generator=torch.Generator().manual_seed(2))
    return head


@pytest.mark.parametrize("make", [_square, _moved])
def test_strength_goes_straight_from_the_features_to_the_head(make: Callable[[], LinearHead]) -> None:
    head = make()
    full = head(_maps())
    for strength in (0.0, 0.25, 0.5, 1.0):
        head.strength = strength
        torch.testing.assert_close(head(_maps()), (1 - strength) * _maps() + strength * full)
        if strength in (0, 1):
            assert torch.equal(head(_maps()), full if strength else _maps())
        again = build_head(json.loads(json.dumps(head_spec(head))), head.state_dict())
        assert torch.equal(again(_maps()), head(_maps())) and again.strength == strength


def test_strength_of_other_channels() -> None:
    with pytest.raises(EquiviewError, match="3 channels out of 5"):
        LinearHead(torch.ones(3, 5), torch.zeros(5), 0.5)


def test_specs_without_a_strength_are_in_full() -> None:
    for head in (_square(), _moved()):
        spec = [{key: value for key, value in head.spec().items() if key != "strength"}]
        assert torch.equal(build_head(spec, head.state_dict())(_maps()), head(_maps()))


HEADS = [
    AverageHead(5),
    CenterHead(),
    WhitenHead(0.7, 0.3),
    WhitenHead(0.7, 0.3, "low_rank", rank=2),
    DebiasHead(torch.linalg.qr(torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(4)))[0]),
    RandomConvHead(5, seed=3),
    ResidualConvHead(5),
    _linear(),
    HeadChain([AverageHead(3), _linear(4), RandomConvHead(4)]),
    HeadChain([LinearHead(_square().matrix, _square().mean, 0.3), ResidualConvHead(5, 0.0)]),
    HeadChain([HeadChain([AverageHead(3)]), _linear()]),
    HeadChain([AverageHead(3), _linear(), FineHead(HeadChain([CenterHead(), _linear(3)]), 0.5)]),
    FineHead(CenterHead()),
]


@pytest.mark.parametrize("head", HEADS, ids=lambda h: type(h).__name__)
def test_spec_and_state_rebuild_it(head: nn.Module) -> None:
    spec = json.loads(json.dumps(head_spec(head)))
    flat = build_head(spec)
    # A nested chain is flattened, which renames its weights but not their order.
    state = dict(zip(flat.state_dict(), head.state_dict().values(), strict=True))
    assert torch.equal(build_head(spec, state)(_maps()), head(_maps()))
    assert head_spec(build_head(spec, state)) == spec


def test_a_fine_head_is_both_cosines() -> None:
    coarse, fine = HeadChain([AverageHead(), _square()]), HeadChain([CenterHead(), _linear(3)])
    joint = HeadChain([coarse, FineHead(fine, 0.5)])(_maps())
    tokens = [F.normalize(maps.flatten(2), dim=1) for maps in (joint, coarse(_maps()), fine(_maps()))]
    both, found, placed = (one.mT @ one for one in tokens)
    torch.testing.assert_close(both, (found + 0.5 * placed) / 1.5)


def test_a_fine_head_stays_on_top_and_comes_off() -> None:
    fine = FineHead(CenterHead())
    head = on_top(HeadChain([AverageHead(), fine]), _square())
    assert [part.kind for part in head_parts(head)] == ["average", "linear", "fine"]
    coarse = without_fine(head)
    assert torch.equal(coarse(_maps()), HeadChain([AverageHead(), _square()])(_maps()))
    assert without_fine(fine) is None and without_fine(coarse) is coarse and on_top(None, fine) is fine


def test_the_fine_part_of_a_head_is_its_fixed_parts_without_averages() -> None:
    head = HeadChain([AverageHead(), CenterHead(), WhitenHead(), AverageHead(), _square()])
    fine = with_fine(head)
    assert [part["kind"] for part in head_spec(fine)[-1]["parts"]] == ["center", "whiten"]
    expected = HeadChain([head, FineHead(HeadChain([CenterHead(), WhitenHead()]))])
    # What two parts share cannot be saved.
    debiased = with_fine(HeadChain([HEADS[4], AverageHead()]))
    assert len({value.data_ptr() for value in debiased.state_dict().values()}) == 2
    assert torch.equal(fine(_maps()), expected(_maps()))
    sharp = HeadChain([CenterHead(), _square()])
    assert with_fine(fine) is fine and with_fine(sharp) is sharp and with_fine(None) is None


def test_no_head() -> None:
    assert head_spec(None) == [] == head_spec(nn.Identity()) == head_spec(build_head(None))
    assert torch.equal(build_head([], {})(_maps()), _maps())


def test_bad_specs_and_weights() -> None:
    fine = {"kind": "fine", "weight": 1.0, "parts": [{"kind": "mlp"}]}
    for spec in ([{"kind": "mlp"}], [{"kind": "average"}], [{}], [fine], [fine | {"weight": 0.0, "parts": []}]):
        with pytest.raises(EquiviewError):
            build_head(spec)
    with pytest.raises(EquiviewError, match="head weights"):
        build_head(head_spec(_linear()), {"matrix": torch.zeros(2, 2)})
    with pytest.raises(EquiviewError, match="one of average"):
        head_spec(nn.Linear(2, 2))


@pytest.mark.parametrize("head", HEADS, ids=lambda h: type(h).__name__)
def test_float32_weights_serve_bf16_maps(head: nn.Module) -> None:
    """A bf16 backbone gives bf16 maps; a fresh head beside it has float32 weights."""
    found = head(_maps().bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), head(_maps()), atol=0.05, rtol=0.02)


@pytest.mark.parametrize("head", [RandomConvHead(32), ResidualConvHead(32)], ids=lambda h: type(h).__name__)
def test_fresh_heads_on_a_bf16_backbone(head: nn.Module, tmp_path: Path) -> None:
    folder = save(make_model("vit"), tmp_path / "vit")
    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    config = FeatureConfig(long_side=48)
    whole = next(Extractor(load_backbone(folder), config, head).maps([picture]))
    half = next(Extractor(load_backbone(folder, dtype=torch.bfloat16), config, head).maps([picture]))
    assert half.tokens.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(half.tokens, whole.tokens, dim=0).min() > 0.99
