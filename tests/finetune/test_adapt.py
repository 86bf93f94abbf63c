"""From a recipe to an adapted extractor."""

import dataclasses

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune import unlabeled_images as module
from equiview.finetune.adapt import adapt
from equiview.finetune.closed_form import ClosedFormConfig
from equiview.finetune.head_step import HeadStep
from equiview.finetune.overrides import override
from equiview.finetune.recipes import RECIPES, get_recipe
from equiview.finetune.stages import STAGES
from equiview.finetune.stages.add_head import AddHead
from equiview.finetune.unlabeled_images import unlabeled_images
from equiview.io import write_image
from equiview.models.adapters import has_lora, save_adapter
from equiview.models.adapters.lora import LoraSpec
from equiview.models.extractor import Extractor
from equiview.models.heads import HeadChain, LinearHead, head_spec
from finetune.tiny import objects, recipe, tiny_backbone


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(module, "IMAGES", 3)


def test_photos_are_read_and_drawn_pictures_take_their_place(tmp_path):
    for number in range(5):
        write_image(tmp_path / f"{number}.png", np.full((8, 9, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    photos = unlabeled_images(tmp_path, seed=1)
    assert [p.shape for p in photos] == [(8, 9, 3)] * 3
    assert np.array_equal(photos, unlabeled_images(tmp_path, seed=1))
    drawn = unlabeled_images(None, seed=1)
    assert len(drawn) == 3 and not np.array_equal(drawn[0], unlabeled_images(None, seed=2)[0])


def test_a_folder_without_photos_is_an_error(tmp_path):
    with pytest.raises(EquiviewError, match="--photos"):
        unlabeled_images(tmp_path)


CLOSED_FORM = ClosedFormConfig(points=30)


def closed(**changes):
    return recipe(CLOSED_FORM, **({"network": False} | changes))


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
    both = closed(network=True, steps=2)
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


def test_a_recipe_has_every_stage_once_and_says_which_it_has_not():
    with pytest.raises(EquiviewError, match="every stage once"):
        recipe(CLOSED_FORM, CLOSED_FORM)
    with pytest.raises(EquiviewError, match="a stage with HeadStep, found add_head, closed_form"):
        closed().stage(HeadStep)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_named_by_its_settings_and_runs_after_the_others(name, tmp_path):
    """What every stage must do, those to come too: name itself, repeat, and leave an extractor that can be saved."""
    stage = STAGES[name]
    settings = stage.settings()
    assert settings.stage == name and dataclasses.asdict(settings)["stage"] == name
    small = {"steps": 2, "instances": 0, "pictures": 2, "points": 40, "lora": LoraSpec(last_blocks=2)}
    known = {field.name for field in dataclasses.fields(settings)}
    settings = dataclasses.replace(settings, **{key: value for key, value in small.items() if key in known})
    settings = AddHead(head="random_conv") if name == "add_head" else settings
    alone = dataclasses.replace(recipe(), stages=(settings,))
    reported, maps = set(), []
    for folder in "ab":
        backbone = tiny_backbone()
        extractor = adapt(
            backbone, objects(), alone, tmp_path / folder, progress=lambda what, *_: reported.add(what), seed=3
        )
        save_adapter(tmp_path / folder / "adapter", extractor)
        maps.append(next(extractor.maps(objects()["sphere"])).tokens)
    assert reported == set(stage.reports)
    assert torch.equal(*maps)
    plain = next(Extractor(tiny_backbone(), alone.features).maps(objects()["sphere"])).tokens
    assert not torch.equal(maps[0], plain)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_law_of_its_seed_alone(name, tmp_path):
    """The same seed, the same weights, whether or not there is a time limit far away; another seed, others."""
    found = []
    for folder, seed, stop_after_s in (("a", 1, None), ("b", 1, 1e6), ("c", 2, None)):
        extractor = adapt(
            tiny_backbone(), objects(), tiny_recipe(name), tmp_path / folder, seed=seed, stop_after_s=stop_after_s
        )
        files = save_adapter(tmp_path / folder / "adapter", extractor).glob("*.safetensors")
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1] != found[2]


def tiny_recipe(name):
    changes = {
        "head_training.steps": 2,
        "head_training.instances": 0,
        "head_training.pictures": 2,
        "head_step.points": 40,
        "closed_form.points": 30,
        "steps": 2,
        "lora.last_blocks": 2,
        "pairs.points": 60,
    }
    own = get_recipe(name)
    names = {settings.stage for settings in own.stages}
    of_stages = {key: value for key, value in changes.items() if key.split(".")[0] in names}
    of_network = {key: changes[key] for key in ("steps", "lora.last_blocks", "pairs.points") if "network" in names}
    read = of_stages | of_network
    return override(own, read | {"features.long_side": 64, "auxiliary_objects": ()})
