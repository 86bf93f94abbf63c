"""The retention report: laws of the drift, the adjustable, the job from end to end, its page and its command."""

import json
import re
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch

from equiview.data.synthetic.categories import CategoryWorld
from equiview.data.synthetic.clips import ClipWorld
from equiview.errors import EquiviewError
from equiview.io import write_image
from equiview.jobs.retention import (
    AdjustableFeatures,
    RetentionConfig,
    Sizes,
    chance_agreement,
    drift_rows,
    measure_retention,
    read_retention,
)
from equiview.jobs.retention.run import trained_on_categories
from equiview.jobs.retention.scoring import drift_metrics
from equiview.models.adapters import save_adapter, set_strength
from equiview.models.adapters.lora import LoraSpec, add_lora, lora_parameters
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import AverageHead, HeadChain, LinearHead, RandomConvHead
from equiview.models.loading import load
from equiview.report.retention import render_retention
from equiview.types import FeatureMap
from models.backbones.tiny import make_model, save
from worlds import sphere_ring

HW = (6, 7)
SMALL = Sizes(
    photos=3,
    instances=2,
    category=CategoryWorld(categories=("chair",), hw=(64, 64)),
    clips=2,
    clip=ClipWorld(frames=3, hw=(64, 64), object_points=4, background_points=2),
)
OBJECTS = ("procedural:2", "procedural:3")
CONFIG = RetentionConfig(strengths=(0.5, 1.0), objects=OBJECTS, views=4, points=30, queries=20, sizes=SMALL)


def fmap(tokens: torch.Tensor) -> FeatureMap:
    return FeatureMap(tokens, (8.0, 8.0), (4.0, 4.0), (8 * tokens.shape[1], 8 * tokens.shape[2]))


def clouds(channels: int = 5, pictures: int = 4, seed: int = 0, hw: tuple[int, int] = HW) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(channels, *hw, generator=generator) + 3 for _ in range(pictures)]


def drift(base: list[torch.Tensor], adapted: list[torch.Tensor], queries: int = 200) -> dict[str, Any]:
    both = [(f"p{i}", (fmap(a), fmap(b))) for i, (a, b) in enumerate(zip(base, adapted, strict=True))]
    return {name: entry["value"] for name, entry in drift_metrics(list(drift_rows(both, queries))).items()}


def plain_cka(base: list[torch.Tensor], adapted: list[torch.Tensor]) -> float:
    """The N x N twin: centred Gram matrices, as the definition has them."""
    grams = []
    for own in (base, adapted):
        tokens = torch.cat([one.flatten(1).T for one in own]).double()
        tokens = tokens - tokens.mean(0)
        grams.append(tokens @ tokens.T)
    a, b = grams
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_identical_features_have_not_moved():
    found = drift(clouds(), clouds())
    assert [found[name] for name in ("cosine", "cka", "neighbours")] == pytest.approx([1, 1, 1], abs=1e-6)


def test_cka_and_neighbours_do_not_see_a_rotation_or_a_scale():
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(3)))[0]
    turned = [2.5 * torch.einsum("oc,chw->ohw", turn, one) for one in clouds()]
    found = drift(clouds(), turned)
    assert found["cka"] == pytest.approx(1, abs=1e-5) and found["neighbours"] == 1
    assert found["cosine"] < 0.99
    assert drift(clouds(), [one + 100 for one in clouds()])["cka"] == pytest.approx(1, abs=1e-5)


def test_accumulated_cka_is_that_of_the_grams():
    base, adapted = clouds(seed=1), [0.5 * a + b for a, b in zip(clouds(seed=1), clouds(seed=2), strict=True)]
    assert drift(base, adapted)["cka"] == pytest.approx(plain_cka(base, adapted), abs=1e-6)
    other = clouds(channels=9, seed=5)
    assert drift(base, other)["cka"] == pytest.approx(plain_cka(base, other), abs=1e-6)


def test_other_channels_have_no_cosine():
    assert drift(clouds(5), clouds(9))["cosine"] is None


def test_independent_features_agree_by_chance():
    hw = (12, 9)
    found = drift(clouds(64, 40, 1, hw), clouds(64, 40, 2, hw))
    # The mean direction is shared; without it nothing is left.
    centred = drift([c - 3 for c in clouds(64, 40, 1, hw)], [c - 3 for c in clouds(64, 40, 2, hw)])
    assert abs(centred["cosine"]) < 0.02 and found["cosine"] > 0.8
    assert centred["cka"] < 0.05
    places = [(r, c) for r in range(12) for c in range(9)]
    near = np.mean([abs(r - r2) <= 1 and abs(c - c2) <= 1 for r, c in places for r2, c2 in places])
    assert found["chance"] == pytest.approx(near) == chance_agreement(hw)
    assert centred["neighbours"] == pytest.approx(near, abs=0.02)
    assert chance_agreement((1, 1)) == 1


def test_drift_refuses_what_it_cannot_compare():
    with pytest.raises(EquiviewError, match="two pictures or more, found one"):
        drift(clouds(pictures=1), clouds(pictures=1))
    with pytest.raises(EquiviewError, match="two pictures or more, found none"):
        drift([], [])
    broken = clouds()
    broken[1][0, 0, 0] = float("nan")
    with pytest.raises(EquiviewError, match=r"p1.*finite"):
        drift(clouds(), broken)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> str:
    return str(save(make_model("vit"), tmp_path_factory.mktemp("vit")))


@pytest.fixture(scope="module")
def adapter(backbone, tmp_path_factory) -> Path:
    """An adapter whose linear head was drawn, not solved, and which says what it was trained on."""
    generator = torch.Generator().manual_seed(1)
    linear = LinearHead(torch.eye(64) + 0.1 * torch.randn(64, 64, generator=generator), torch.full((64,), 0.05))
    config = FeatureConfig(blocks=(2, 3), long_side=64)
    extractor = Extractor(load_backbone(backbone), config, HeadChain([AverageHead(3), linear]))
    record = {"data": {"objects": ["builtin-mug", "procedural-9001"]}}
    return save_adapter(tmp_path_factory.mktemp("adapter") / "adapter", extractor, record)


@pytest.fixture(autouse=True)
def spheres(monkeypatch):
    """Every object is a sphere; nothing is rendered for it."""
    monkeypatch.setattr("equiview.jobs.run_folder.open_source", lambda source, *, n_views, **_: sphere_ring(n_views))


@pytest.fixture(scope="module")
def finished(backbone, adapter, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("retain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equiview.jobs.run_folder.open_source", lambda source, *, n_views, **_: sphere_ring(n_views))
        measure_retention(backbone, adapter, out, CONFIG)
    return out


def read(out: Path) -> dict[str, Any]:
    return json.loads((out / "retention.json").read_text())


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def test_the_knob_gives_what_the_extractor_gives(backbone, adapter):
    """The head on shared maps is the extractor at that strength; 1 is the adapter as it was saved."""
    adjustable, whole = AdjustableFeatures(load(backbone, adapter=adapter)), load(backbone, adapter=adapter)
    (saved,) = whole.maps([picture()])
    for strength in (1.0, 0.0, 0.4):
        (mine,) = adjustable.at(strength).maps([picture()])
        set_strength(whole, strength)
        (theirs,) = whole.maps([picture()])
        assert torch.allclose(mine.tokens, theirs.tokens, atol=1e-5)
        assert (strength != 1) or torch.allclose(mine.tokens, saved.tokens, atol=1e-5)
    base = Extractor(load_backbone(backbone), whole.config, AverageHead(3)).eval()
    assert torch.allclose(next(base.maps([picture()])).tokens, adjustable.map(picture(), 0.0).tokens, atol=1e-5)


def test_maps_before_the_head_are_computed_once(backbone, adapter, monkeypatch):
    adjustable, seen = AdjustableFeatures(load(backbone, adapter=adapter)), []
    assert adjustable.shared is not None
    inner = adjustable.shared.maps
    monkeypatch.setattr(adjustable.shared, "maps", lambda views: seen.append(1) or inner(views))
    one, other = adjustable.at(0.0), adjustable.at(1.0)
    by_turns = [
        (a.tokens, b.tokens) for a, b in zip(*(s.maps([picture(), picture(1)]) for s in (one, other)), strict=True)
    ]
    assert len(seen) == 2
    assert torch.equal(by_turns[1][0], next(one.maps([picture(1)])).tokens)
    small = AdjustableFeatures(adjustable.adapted, cache_mb=0)
    assert torch.equal(small.map(picture(), 1.0).tokens, small.map(picture(), 1.0).tokens)


def test_a_lora_is_scaled(backbone):
    model = load_backbone(backbone)
    add_lora(model, LoraSpec(last_blocks=2), 0)
    for number, parameter in enumerate(lora_parameters(model)):
        parameter.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(number))
    adjustable = AdjustableFeatures(Extractor(model, FeatureConfig(long_side=64)).eval())
    (plain,) = Extractor(load_backbone(backbone), FeatureConfig(long_side=64)).eval().maps([picture()])
    none, half, full = (adjustable.map(picture(), strength).tokens for strength in (0.0, 0.5, 1.0))
    assert torch.allclose(none, plain.tokens, atol=1e-5)
    assert (half - none).norm() > 0 and (full - half).norm() > 0


def test_an_adapter_without_a_strength_is_refused(backbone):
    with pytest.raises(EquiviewError, match="no base to go back to"):
        AdjustableFeatures(Extractor(load_backbone(backbone), FeatureConfig(), RandomConvHead(32))).map(picture(), 0.5)


def test_the_report_has_its_form(finished):
    found = read(finished)
    assert set(found) == {"protocol", "strengths", "reading"}
    assert [entry["strength"] for entry in found["strengths"]] == [0, 0.5, 1]
    for entry in found["strengths"]:
        assert set(entry["drift"]) == {"cosine", "cka", "neighbours", "chance"}
        assert {"pcdp@0.05", "ape"} == set(entry["equivariance"]) == set(entry["difference"]["equivariance"])
        assert {"pck@0.05", "pck@0.10", "pck@0.15", "pck@0.01", "pck@0.03"} == set(entry["transfer"])
        assert {"average_jaccard", "share_under_8px"} <= set(entry["tracking"])
    first, last = found["strengths"][0], found["strengths"][-1]
    assert [first["drift"][name]["value"] for name in ("cosine", "cka", "neighbours")] == pytest.approx([1, 1, 1])
    assert last["drift"]["cosine"]["value"] < 1
    assert all(e["value"] == 0 for task in first["difference"].values() for e in task.values())
    change = last["difference"]["equivariance"]["ape"]["value"]
    assert change == pytest.approx(last["equivariance"]["ape"]["value"] - first["equivariance"]["ape"]["value"])
    assert found["protocol"]["data"]["pairs"] == "synthetic-families"
    assert found["protocol"]["features"]["adapter"]["sha256"]
    rows = list(finished.rglob("rows/*/strength-*/*.jsonl"))
    assert len(rows) == 3 * (1 + 2 + 1 + 2)


def test_a_finished_strength_is_not_computed_again(finished, backbone, adapter, tmp_path, monkeypatch):
    """A cut run gives the same report; one with another strength computes that one only."""
    out = tmp_path / "cut"
    copytree(finished, out)
    (out / "retention.json").unlink()
    lost = [path for path in out.rglob("rows/*/strength-1.0/*.jsonl") if path.parts[-3] != "drift"]
    for path in lost:
        path.unlink()
    asked = set()
    inner = AdjustableFeatures.map
    monkeypatch.setattr(
        AdjustableFeatures, "map", lambda self, shown, strength: asked.add(strength) or inner(self, shown, strength)
    )
    again = measure_retention(backbone, adapter, out, CONFIG)
    assert asked == {1.0} and len(lost) == 5
    assert again == read(finished)
    asked.clear()
    more = measure_retention(backbone, adapter, out, RetentionConfig(**{**vars(CONFIG), "strengths": (0.25, 1.0)}))
    assert asked == {0.0, 0.25}  # The drift is between the two.
    assert [entry["strength"] for entry in more["strengths"]] == [0, 0.25, 1]


def test_an_interrupted_run_goes_on(finished, backbone, adapter, tmp_path, sent):
    out, stages = tmp_path / "stopped", []

    def stop(stage: str, done: int, total: int) -> None:
        stages.append((stage, done, total))
        if stage == "transfer" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_retention(backbone, adapter, out, CONFIG, progress=stop)
    assert ("equivariance", 6, 6) in stages and not (out / "retention.json").exists()
    assert measure_retention(backbone, adapter, out, CONFIG, engine=sent) == read(finished)


def test_another_run_is_refused(finished, backbone, adapter):
    with pytest.raises(EquiviewError, match="points"):
        measure_retention(backbone, adapter, finished, RetentionConfig(**{**vars(CONFIG), "points": 31}))


def entry(strength: float, lost: tuple[float, ...], gained: float = 3.0) -> dict[str, Any]:
    def change(value: float, *ci95: float) -> dict[str, Any]:
        return {"value": value, "ci95": list(ci95) or None, "n": 9}

    difference = {
        "transfer": {"pck@0.10": change(*lost)},
        "equivariance": {"pcdp@0.05": change(gained, gained - 1, gained + 1)},
        "tracking": {"average_jaccard": change(-0.2)},
    }
    share = {name: {"value": 0.5, "ci95": None, "n": 4} for name in ("cosine", "cka", "neighbours", "chance")}
    return {"strength": strength, "difference": difference, "drift": share}


def test_the_reading_recommends_the_largest_strength_within_the_tolerance():
    entries = [
        entry(0.0, (0.0, 0.0, 0.0)),
        entry(0.5, (-0.4, -0.9, 0.3)),
        entry(0.75, (-0.9, -1.9, 0.2)),
        entry(1.0, (-4.0, -6.0, -2.0)),
    ]
    found = read_retention(entries, 1.0)
    assert found["recommended"] == 0.75
    assert found["verdicts"] == {"0.5": "keeps", "0.75": "unclear", "1": "loses"}
    words = " ".join(found["lead"])
    assert "Recommended strength 0.75" in words and "not excluded" in words
    assert "included, at strength 1." in words and "(the interval holds both) at strength 0.75." in words
    assert read_retention(entries, 5.0)["recommended"] == 1.0
    reading = read_retention(entries, 5.0, trained_on_pairs=True)
    assert reading["recommended"] is None and set(reading["verdicts"].values()) == {"not measured"}
    assert "trained on instances" in reading["lead"][0]
    none = read_retention([entries[0], entries[-1]], 1.0)
    assert none["recommended"] == 0 and none["lead"][0].startswith("Recommended strength 0: every other one")


def test_the_reading_without_intervals_or_scores():
    few = read_retention([entry(0.0, (0.0,)), entry(1.0, (-0.5,))], 1.0)
    assert few["recommended"] == 1 and "no interval" in " ".join(few["lead"])
    empty = [entry(0.0, (0.0,)), entry(1.0, (0.0,))]
    for one in empty:
        one["difference"]["transfer"] = {}
    found = read_retention(empty, 1.0)
    assert found["recommended"] is None and set(found["verdicts"].values()) == {"not measured"}


def test_the_page_holds_the_curve_and_the_table(finished):
    found = read(finished)
    page = render_retention(found)
    assert page.count("<svg") == 2 and "://" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
    assert "Recommended strength" in page and "<script" not in page
    found["reading"] = read_retention(found["strengths"], 1.0, trained_on_pairs=True)
    assert "No recommendation" in (page := render_retention(found)) and page.count("<svg") == 2
    for entry in found["strengths"]:
        entry["difference"]["transfer"] = {}
    found["reading"] = read_retention(found["strengths"], 1.0)
    assert "nothing to draw" in render_retention(found)


COMMON = ("--objects", *OBJECTS, "--views", "4", "--points", "30", "--strengths", "0", "1")


def test_the_command(run, backbone, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr("equiview.jobs.retention.RetentionConfig", partial(RetentionConfig, sizes=SMALL))
    out = tmp_path / "out"
    arguments = ("retain", "-b", backbone, "--adapter", str(adapter), *COMMON, "--out", str(out))
    code, stdout, stderr = run(*arguments, "--json")
    assert code == 0, stderr
    found = json.loads(stdout)
    assert found["command"] == "retain" and len(found["strengths"]) == 2
    assert (out / "retention.html").is_file() and found["wrote"][1].endswith("retention.json")
    code, stdout, _ = run(*arguments)
    assert code == 0 and "Recommended strength" in stdout and "PCK@0.10" in stdout


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--adapter", "nowhere"), "nowhere"),
        (("--strengths", "0.5", "1.5"), "numbers from 0 to 1"),
        (("--strengths", "0"), "one above 0"),
        (("--photos", "EMPTY"), "a folder with photos"),
        (("--pairs", "pf-willow"), "NAME:PATH"),
        (("--clips", "youtube:x"), "badja:FOLDER or tapvid:FILE"),
        (("--objects", "builtin:nothing"), "nothing"),
    ],
)
def test_bad_input_is_one_message(run, backbone, adapter, tmp_path, extra, said):
    (tmp_path / "empty").mkdir()
    extra = tuple(str(tmp_path / "empty") if word == "EMPTY" else word for word in extra)
    given = ("--adapter", str(adapter)) if "--adapter" not in extra else ()
    code, _, stderr = run("retain", "-b", backbone, *given, *extra, "--out", str(tmp_path / "out"))
    assert code == 2 and said in stderr and "Traceback" not in stderr
    assert not (tmp_path / "out" / "rows").exists()


def test_photos_of_a_folder(tmp_path):
    from equiview.jobs.retention.measurements import photo_set

    for number in range(4):
        write_image(tmp_path / f"{number}.png", picture(number))
    names, read_photo = photo_set(RetentionConfig(photos=str(tmp_path)))
    assert names == ["0.png", "1.png", "2.png", "3.png"] and np.array_equal(read_photo(2), picture(2))
    (tmp_path / "one").mkdir()
    write_image(tmp_path / "one" / "a.png", picture())
    with pytest.raises(EquiviewError, match="two photos or more"):
        photo_set(RetentionConfig(photos=str(tmp_path / "one")))


def test_objects_it_was_trained_on_are_left_out(adapter):
    from equiview.jobs.retention.measurements import builtin_objects
    from equiview.models.adapters import read_record

    found = builtin_objects(read_record(adapter))
    assert "builtin:mug" not in found and "builtin:camera" in found and len(found) == 7


@pytest.mark.parametrize(
    ("recipe", "found"),
    [
        ({"kind": "train_head", "head_training": {"members": 24}}, True),
        ({"kind": "train_then_head", "head_training": {"members": 24}}, True),
        ({"kind": "train_head", "head_training": {"members": 0}}, False),
        ({"kind": "closed_form", "head_training": {"members": 24}}, False),
        ({"kind": "closed_form", "head_training": None}, False),
        ("one-step", False),
        (None, False),
    ],
)
def test_it_is_known_when_the_categories_were_trained_on(recipe, found):
    assert trained_on_categories({} if recipe is None else {"recipe": recipe}) is found
