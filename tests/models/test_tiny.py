"""The bundled backbone: small, in the common format, learned, its own, and described by its card."""

import pytest
import torch

import equiview
from equiview.data.meshes import open_object
from equiview.models.backbones import TINY, TINY_FOLDER, load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.render import RenderConfig
from equiview.tasks.equivariance import MeasureConfig, plan_object, score_object, summarize

CARD = TINY_FOLDER.parent / "README.md"


def test_it_is_small_and_in_the_common_format():
    from safetensors import safe_open
    from transformers import AutoModel

    assert (TINY_FOLDER / "model.safetensors").stat().st_size <= 12e6
    with safe_open(TINY_FOLDER / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    model = AutoModel.from_pretrained(TINY_FOLDER, add_pooling_layer=False)
    assert sum(p.numel() for p in model.parameters()) <= 6e6


def test_every_way_of_loading_gives_the_same_features():
    picture = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    by_name, by_folder = equiview.load(TINY, long_side=96), equiview.load(str(TINY_FOLDER), long_side=96)
    assert torch.equal(by_name(picture), by_folder(picture))
    assert by_name.backbone.info.weights_sha256 == by_folder.backbone.info.weights_sha256


def test_the_card_is_about_these_weights():
    text = CARD.read_text()
    assert load_backbone(TINY).info.weights_sha256 in text
    for topic in ("Apache-2.0", "research", "Seed", "must not be used", "PF-WILLOW", "BADJA", "procedural"):
        assert topic in text, topic


def test_it_matches_views_far_better_than_random_weights():
    views = list(open_object("builtin:duck", n_views=6, config=RenderConfig(hw=(224, 224), supersample=1)))
    config = MeasureConfig(points=80)
    plan = plan_object("duck", views, config)
    scores = {}
    for seed in (None, 0):
        source = Extractor(load_backbone(TINY, random_weights_seed=seed), FeatureConfig(blocks=(8,), long_side=320))
        rows = score_object(plan, list(source.eval().maps(plan.views)), config)
        scores[seed] = summarize(rows, {})["metrics"]["pcdp@0.1"]["value"]
    assert scores[None] > 1.3 * scores[0]


@pytest.mark.shared
def test_its_weights_are_not_its_teachers(deit_tiny):
    ours, theirs = (dict(load_backbone(name).model.named_parameters()) for name in (TINY, deit_tiny))
    for name in ("layers.0.attention.q_proj.weight", "layers.5.mlp.fc1.weight", "layers.11.mlp.fc2.weight"):
        a, b = ours[name].flatten(), theirs[name].flatten()
        assert abs(torch.nn.functional.cosine_similarity(a, b, dim=0)) < 0.5
