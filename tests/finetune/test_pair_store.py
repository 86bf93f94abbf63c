"""What auxiliary objects teach is computed once: the next run reads it, learns the same, and renders nothing."""

import logging

import pytest
import torch
from PIL import Image

from bad_inputs import ball_ply
from equiview.data.contents import lasting_name
from equiview.data.lazy_views import LazyViews
from equiview.finetune.adapt import adapt
from equiview.finetune.head_pairs import object_pairs
from equiview.finetune.head_step import HeadStep
from equiview.finetune.pair_store import PairStore, read_pairs, store_of, write_pairs
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.fixed_heads import DebiasHead
from equiview.models.heads import AverageHead, LinearHead
from equiview.models.oracle import OracleExtractor
from finetune.tiny import objects, recipe, tiny_backbone
from worlds import sphere_ring


@pytest.fixture
def pairs():
    views = sphere_ring(3)
    return object_pairs(views, list(OracleExtractor(8).maps(views)), max_angle_deg=180)


def test_pairs_come_back_with_maps_shared_and_in_half_precision(tmp_path, pairs):
    write_pairs(tmp_path / "ring.safetensors", pairs)
    back = read_pairs(tmp_path / "ring.safetensors")
    assert len(back) == len(pairs) and len({id(pair.source) for pair in back}) == len({id(p.source) for p in pairs})
    for one, other in zip(back, pairs, strict=True):
        assert torch.equal(one.xy0, other.xy0) and torch.equal(one.xy1, other.xy1)
        for found, wanted in ((one.source, other.source), (one.target, other.target)):
            assert torch.equal(found.tokens, wanted.tokens.half())
            assert (found.stride_xy, found.offset_xy, found.image_hw) == (
                *(wanted.stride_xy, wanted.offset_xy, wanted.image_hw),
            )


def test_an_object_is_made_once_and_again_where_its_file_is_broken(tmp_path, pairs, caplog):
    store, made = PairStore(tmp_path), []

    def make():
        made.append(1)
        return pairs

    first = store.get("a/b", make)
    again = store.get("a/b", make)
    assert len(made) == 1 and torch.equal(first[0].source.tokens, again[0].source.tokens)
    (path,) = tmp_path.iterdir()
    for broken in (path.read_bytes()[:-100], b"", b"x" * 200):
        path.write_bytes(broken)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert len(store.get("a/b", make)) == len(pairs)
        assert "cannot be read" in caplog.text
    assert len(made) == 4


def test_where_nothing_can_be_kept_the_run_goes_on_with_the_same_numbers(tmp_path, pairs, caplog):
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        found = PairStore(tmp_path / "file" / "pairs").get("ring", lambda: pairs)
    kept = PairStore(tmp_path / "pairs").get("ring", lambda: pairs)
    assert "not kept for the next run" in caplog.text
    assert all(torch.equal(one.source.tokens, other.source.tokens) for one, other in zip(found, kept, strict=True))


def test_what_a_lora_makes_of_an_object_is_not_kept(tmp_path):
    given = objects() | {"procedural-3": sphere_ring(4)}
    learned = recipe(HeadStep(), steps=1, auxiliary_objects=("procedural:3",), keep_auxiliary=True)
    adapt(tiny_backbone(), given, learned, tmp_path / "out", store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_other_weights_settings_heads_and_views_are_kept_apart(tmp_path):
    plain = Extractor(tiny_backbone(), FeatureConfig(blocks=(1, 2), long_side=64))
    linear = [LinearHead(value * torch.eye(4), torch.zeros(4)) for value in (1.0, 2.0)]
    debias = [DebiasHead(torch.eye(32)[None, :, :2]), DebiasHead(torch.eye(32)[None, :, 1:3])]
    one_block = FeatureConfig(blocks=(2,), long_side=64)
    same = [store_of(tmp_path, Extractor(plain.backbone, one_block, head), {}).folder for head in debias]
    assert same[0] == same[1]  # They follow from the weights, but for the last bits.
    others = [
        Extractor(plain.backbone, FeatureConfig(blocks=(2,), long_side=64)),
        Extractor(plain.backbone, FeatureConfig(blocks=(1, 2), long_side=96)),
        *(Extractor(plain.backbone, plain.config, head) for head in (AverageHead(3), *linear)),
    ]
    folders = [store_of(tmp_path, one, {"views": 6}).folder for one in (plain, *others)]
    folders.append(store_of(tmp_path, plain, {"views": 5}).folder)
    assert len(set(folders)) == len(folders)
    assert store_of(tmp_path, plain, {"views": 6}).folder == folders[0]


def test_a_second_run_learns_the_same_and_asks_for_no_view(tmp_path):
    own, other = objects().popitem(), sphere_ring(4)
    learned = recipe(HeadStep(), network=False, auxiliary_objects=("procedural:3",), keep_auxiliary=True)
    asked = []

    def views():
        asked.append(1)
        return other

    def run(seed, name):
        given = {own[0]: own[1], "procedural-3": LazyViews(4, views)}
        return adapt(tiny_backbone(), given, learned, tmp_path / name, store=tmp_path / "store", seed=seed)

    first, again = run(0, "first"), run(0, "again")
    assert asked == [1]
    for one, two in zip(first.head.state_dict().values(), again.head.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    run(1, "other seed")
    assert asked == [1]


def test_lazy_views_are_opened_once_when_looked_at():
    opened = []
    views = LazyViews(3, lambda: opened.append(1) or sphere_ring(3))
    assert len(views) == 3 and not opened
    assert [view.name for view in views] == ["ring0", "ring1", "ring2"] and len(views[1:]) == 2
    assert opened == [1]


def test_objects_are_kept_under_names_that_change_with_their_look(tmp_path):
    names = []
    for seed in (0, 1):
        names.append(lasting_name(str(ball_ply(tmp_path / "ball.ply", seed))))
    assert names[0] != names[1] and all(name.startswith("ball-") for name in names)
    assert lasting_name("procedural:3") == "procedural-3"
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (9 * number,) * 3).save(tmp_path / "photos" / f"{number}.png")
    assert lasting_name(str(tmp_path / "photos")) is None
