"""The recipe `lora-and-head`, shortened, on every family of backbones; it can be saved."""

import pytest
import torch

from equiview import load_adapter, save_adapter, set_strength
from equiview.finetune.adapt import adapt
from equiview.finetune.overrides import override
from equiview.finetune.recipes import get_recipe
from equiview.models.backbones import load_backbone
from finetune.tiny import objects
from models.backbones.tiny import SPECS, make_model, save

SHORT = {
    **{"steps": 2, "head_training.steps": 2, "head_training.instances": 0, "head_training.pictures": 2},
    **{"auxiliary_objects": (), "features.long_side": 64, "pairs.points": 60},
}


@pytest.mark.parametrize("family", SPECS)
def test_the_network_and_a_head_on_it_are_adapted(family, tmp_path):
    folder = str(save(make_model(family), tmp_path / "model"))
    views = objects()["sphere"]
    found = adapt(
        load_backbone(folder), {"sphere": views}, override(get_recipe("lora-and-head"), SHORT), tmp_path / "run"
    )
    again = load_adapter(save_adapter(tmp_path / "adapter", found), load_backbone(folder))
    adapted, loaded = (next(one.maps(views[:1])).tokens for one in (found, again))
    assert torch.equal(adapted, loaded) and adapted.isfinite().all()
    without_head = next(set_strength_of_head(again, 0.0).maps(views[:1])).tokens
    nothing = next(set_strength(again, 0.0).maps(views[:1])).tokens
    assert not torch.equal(without_head, nothing), "the network learned nothing"
    assert not torch.equal(without_head, adapted), "the head learned nothing"


def set_strength_of_head(extractor, strength):
    extractor.head[-1].strength = strength
    return extractor
