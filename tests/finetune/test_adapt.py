"""From a recipe to an adapted extractor."""

import dataclasses

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune import ordinary as module
from equiview.finetune.adapt import adapt
from equiview.finetune.closed_form import ClosedFormConfig
from equiview.finetune.ordinary import ordinary_pictures
from equiview.io import write_image
from equiview.models.adapters import has_lora
from equiview.models.heads import HeadChain, LinearHead, head_spec
from finetune.tiny import objects, recipe, tiny_backbone


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(module, "PICTURES", 3)


def test_photos_are_read_and_drawn_pictures_take_their_place(tmp_path):
    for number in range(5):
        write_image(tmp_path / f"{number}.png", np.full((8, 9, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    photos = ordinary_pictures(tmp_path, seed=1)
    assert [p.shape for p in photos] == [(8, 9, 3)] * 3
    assert np.array_equal(photos, ordinary_pictures(tmp_path, seed=1))
    drawn = ordinary_pictures(None, seed=1)
    assert len(drawn) == 3 and not np.array_equal(drawn[0], ordinary_pictures(None, seed=2)[0])


def test_a_folder_without_photos_is_an_error(tmp_path):
    with pytest.raises(EquiviewError, match="--photos"):
        ordinary_pictures(tmp_path)


def closed(**changes):
    settings = {"kind": "closed_form", "lora": None, "closed_form": ClosedFormConfig(points=30), "steps": 0}
    return recipe(**(settings | changes))


def test_closed_form_alone_leaves_the_backbone_as_it_was(tmp_path):
    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    extractor = adapt(backbone, objects(), closed(), tmp_path)
    assert isinstance(extractor.head, LinearHead) and not has_lora(backbone)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not extractor.training


def test_a_fixed_head_comes_before_the_solved_one(tmp_path):
    extractor = adapt(tiny_backbone(), objects(), closed(head="average"), tmp_path)
    assert isinstance(extractor.head, HeadChain)
    assert [part["kind"] for part in head_spec(extractor.head)] == ["average", "linear"]


def test_training_then_closed_form_does_both_and_repeats(tmp_path):
    both = closed(kind="train_then_closed_form", lora=recipe().lora, steps=2)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    results = []
    for name in "ab":
        done = []
        backbone = tiny_backbone()
        (tmp_path / name).mkdir()
        extractor = adapt(backbone, objects(), both, tmp_path / name, progress=lambda *args: done.append(args))  # noqa: B023
        assert has_lora(backbone) and isinstance(extractor.head, LinearHead)
        assert done[-1][1] == done[-1][2]
        with torch.no_grad():
            results.append(extractor(images))
    assert torch.equal(*results)


def test_the_seed_counts(tmp_path):
    images = torch.rand(1, 3, 64, 64)
    heads = [adapt(tiny_backbone(), objects(), closed(), tmp_path, seed=seed)(images) for seed in (0, 1)]
    assert not torch.equal(*heads)


def test_a_recipe_may_name_what_is_not_there(tmp_path):
    with pytest.raises(EquiviewError):
        dataclasses.replace(closed(), closed_form=None)
