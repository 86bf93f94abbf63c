"""Position directions hold what tells places apart where a picture shows nothing, and the head takes them out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from equiview.errors import EquiviewError
from equiview.models import exported_model
from equiview.models.backbones.base import Backbone, BackboneInfo
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.fixed_heads import DebiasHead
from equiview.models.heads import build_head, head_spec
from equiview.models.position_bias import position_directions

DIM, PATCH = 24, 4


def imprinted(strength: float) -> Extractor:
    """Return a backbone of two blocks: colours lifted to features, and an imprint of the place in two directions."""
    lift = torch.randn(2, DIM, 3, generator=torch.Generator().manual_seed(0))
    imprint = torch.linalg.qr(torch.randn(2, DIM, 2, generator=torch.Generator().manual_seed(1)))[0]

    def encode(model, images, wanted, *, norm, stride, position):
        colours = F.avg_pool2d(images, PATCH) - 0.5
        rows, columns = colours.shape[2:]
        places = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")).float()
        places = places - places.mean((1, 2), keepdim=True)
        return [
            torch.einsum("dc,bchw->bdhw", lift[block - 1], colours)
            + strength * torch.einsum("dk,khw->dhw", imprint[block - 1], places)
            for block in wanted
        ]

    info = BackboneInfo("imprinted", "made", PATCH, DIM, 2, 1, (0.0,) * 3, (1.0,) * 3, "0" * 64)
    return Extractor(Backbone(info, nn.Linear(1, 1), encode), FeatureConfig(blocks=(1, 2), long_side=64)).eval()


def test_the_imprint_is_found_and_a_point_that_moves_keeps_its_feature() -> None:
    source, plain = imprinted(0.1), imprinted(0.0)
    directions = position_directions(source, 2)
    torch.testing.assert_close(directions.mT @ directions, torch.eye(2).expand(2, 2, 2), atol=1e-5, rtol=0)
    debiased = Extractor(source.backbone, source.config, DebiasHead(directions))
    picture = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    moved = np.roll(picture, 32, axis=1)
    cosine = {}
    for name, one in (("biased", source), ("debiased", debiased), ("unbiased", plain)):
        here, there = (m.tokens.roll(shift, 2) for m, shift in zip(one.maps([picture, moved]), (8, 0), strict=True))
        cosine[name] = float(F.cosine_similarity(here, there, dim=0).mean())
    assert cosine["biased"] < 0.6 and cosine["unbiased"] > 0.999
    assert cosine["debiased"] > 0.9


def test_blocks_are_treated_apart_and_come_out_at_unit_length() -> None:
    directions = torch.linalg.qr(torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(2)))[0]
    maps = torch.randn(3, 12, 4, 5, generator=torch.Generator().manual_seed(3))
    found = DebiasHead(directions)(maps).unflatten(1, (2, 6))
    torch.testing.assert_close(found.norm(dim=2), torch.ones(3, 2, 4, 5))
    assert torch.einsum("kdc,bkdhw->bkchw", directions, found).abs().max() < 1e-5
    rest = maps.unflatten(1, (2, 6)) - torch.einsum(
        "kdc,kec,bkehw->bkdhw", directions, directions, maps.unflatten(1, (2, 6))
    )
    torch.testing.assert_close(found, F.normalize(rest, dim=2))


def test_an_export_has_the_same_values() -> None:
    head = DebiasHead(torch.linalg.qr(torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(2)))[0])
    (spec,) = head_spec(head)
    assert spec == {"kind": "debias", "blocks": 2, "dim": 6, "directions": 3}
    exported = exported_model.build_head(spec)
    exported.load_state_dict(head.state_dict())
    maps = torch.randn(2, 12, 4, 5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(exported(maps), head(maps))
    assert torch.equal(build_head([spec], head.state_dict())(maps), head(maps))


def test_directions_do_not_depend_on_the_head_or_on_passes_and_are_the_same_every_time() -> None:
    source = imprinted(0.3)
    usual = position_directions(source)
    assert usual.shape == (2, DIM, DIM // 8)
    config = replace(source.config, sizes=(0.5, 1.0), mirrored=0.25)
    assert torch.equal(usual, position_directions(Extractor(source.backbone, config, DebiasHead(usual))))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(EquiviewError, match="position directions"):
        position_directions(imprinted(0.3), DIM)
    with pytest.raises(EquiviewError, match="debias head"):
        DebiasHead(torch.zeros(2, 4, 4))
    with pytest.raises(EquiviewError, match="maps of 2 x 6 channels"):
        DebiasHead(torch.zeros(2, 6, 1))(torch.zeros(1, 6, 2, 2))
    for wrong in ({"blocks": 0}, {"dim": 2**30}, {"directions": "few"}, {"directions": 6}):
        with pytest.raises(EquiviewError, match=r"head\[0\]|debias head"):
            build_head([{"kind": "debias", "blocks": 2, "dim": 6, "directions": 3} | wrong])
