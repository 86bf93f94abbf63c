"""The training loop: it learns, resumes exactly, counts what it skips, and refuses what it cannot use."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import equiview.finetune.train as module
from equiview.errors import EquiviewError
from equiview.finetune.augment import AugmentConfig
from equiview.finetune.pairs import PairConfig, sample_overlapping_pair
from equiview.finetune.recipe import Recipe
from equiview.finetune.recipes import prepare
from equiview.finetune.train import (
    accumulate_gradients,
    batch_loss,
    pair_descriptors,
    prepare_pairs,
    train,
    trainable,
)
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.sampling import descriptors
from finetune.tiny import changed, objects, of_network, recipe, tiny_backbone
from worlds import camera_at, sphere_view

CPU = torch.device("cpu")


def start(settings: Recipe, seed: int = 0) -> Extractor:
    return prepare(tiny_backbone(), settings, seed=seed)


def weights(extractor: Extractor) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainable(extractor).items()}


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def log_rows(folder: Path) -> list[dict]:
    return [json.loads(row) for row in (folder / "log.jsonl").read_text().splitlines()]


def score(extractor: Extractor, settings: Recipe) -> float:
    """Mean loss over pairs that were never trained on."""
    pairs = [sample_overlapping_pair(objects(), of_network(settings).pairs, seed=99, index=k) for k in range(12)]
    with torch.no_grad():
        return batch_loss(extractor, pairs, of_network(settings), CPU).item()


@pytest.mark.parametrize(
    "settings",
    [
        recipe(steps=40),
        recipe(steps=40, loss="info_nce", temperature=0.05, head="residual_conv", regulariser=0.1),
        recipe(steps=40, loss="info_nce", temperature=0.05, dtype="bfloat16"),
    ],
    ids=["smooth_ap", "info_nce+head+regulariser", "bf16"],
)
def test_training_lowers_the_loss_on_other_pairs(settings: Recipe, tmp_path: Path):
    extractor = start(settings)
    before = score(extractor, settings)
    result = train(extractor, objects(), of_network(settings), tmp_path, seed=0)
    assert result.steps == 40 and len(result.losses) == 40 and not result.skipped
    assert score(extractor, settings) < 0.95 * before


def test_only_adapter_and_head_change(tmp_path: Path):
    settings = recipe(steps=3, head="residual_conv")
    extractor = start(settings)
    before = {name: p.detach().clone() for name, p in extractor.named_parameters()}
    train(extractor, objects(), of_network(settings), tmp_path)
    for name, p in extractor.named_parameters():
        assert torch.equal(p, before[name]) != p.requires_grad, name


@pytest.mark.parametrize("augmented", [None, AugmentConfig()])
def test_a_resumed_run_ends_with_the_same_weights(augmented, tmp_path: Path):
    settings = recipe(steps=9, checkpoint_every=4, augment=augmented, batch=2, head="random_conv")
    whole = start(settings)
    train(whole, objects(), of_network(settings), tmp_path / "whole", seed=3)

    calls = []
    broken = start(settings)
    first = train(
        broken,
        objects(),
        of_network(settings),
        tmp_path / "two",
        seed=3,
        should_stop=lambda: calls.append(1) or len(calls) == 5,
    )
    assert (first.steps, first.stopped_by) == (5, "request")
    resumed = start(settings)
    second = train(resumed, objects(), of_network(settings), tmp_path / "two", seed=3)
    assert (second.steps, second.resumed_from, second.stopped_by) == (9, 5, "steps")
    assert equal(weights(whole), weights(resumed))
    logs = [log_rows(tmp_path / name) for name in ("whole", "two")]
    assert [(r["step"], r["loss"], r["pair"]) for r in logs[0]] == [(r["step"], r["loss"], r["pair"]) for r in logs[1]]


class Interrupting(dict):
    """Objects whose n-th reading is a Ctrl-C."""

    def __init__(self, values: dict, reads: int) -> None:
        super().__init__(values)
        self.left = reads

    def __getitem__(self, key):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().__getitem__(key)


def test_ctrl_c_saves_and_the_run_goes_on_from_there(tmp_path: Path):
    settings = recipe(steps=8, checkpoint_every=100)
    whole = start(settings)
    train(whole, objects(), of_network(settings), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(start(settings), Interrupting(objects(), 15), of_network(settings), tmp_path / "broken")
    resumed = start(settings)
    result = train(resumed, objects(), of_network(settings), tmp_path / "broken")
    assert 0 < result.resumed_from < 8 and equal(weights(whole), weights(resumed))


def test_a_crash_resumes_from_the_last_checkpoint_and_repeats_no_log_row(tmp_path: Path):
    settings = recipe(steps=8, checkpoint_every=3)
    whole = start(settings)
    train(whole, objects(), of_network(settings), tmp_path / "whole")

    def crash(done: int, total: int, loss: float | None) -> None:
        if done == 5:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power"):
        train(start(settings), objects(), of_network(settings), tmp_path / "cut", progress=crash)
    with (tmp_path / "cut" / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')
    resumed = start(settings)
    result = train(resumed, objects(), of_network(settings), tmp_path / "cut")
    assert result.resumed_from == 3 and equal(weights(whole), weights(resumed))
    rows = log_rows(tmp_path / "cut")
    assert [row["step"] for row in rows] == list(range(1, 9))


def test_more_steps_continue_a_finished_run(tmp_path: Path):
    settings = recipe(steps=6)
    whole = start(settings)
    train(whole, objects(), of_network(settings), tmp_path / "whole")
    train(start(settings), objects(), of_network(changed(settings, steps=2)), tmp_path / "parts")
    extended = start(settings)
    assert train(extended, objects(), of_network(settings), tmp_path / "parts").resumed_from == 2
    assert equal(weights(whole), weights(extended))


@pytest.mark.parametrize(
    "other, seed, message",
    [
        (recipe(steps=2, lr=0.5), 0, "recipe.lr"),
        (recipe(steps=2), 1, "seed"),
        (recipe(steps=2, lora=None, head="residual_conv"), 0, "recipe.head"),
        (recipe(steps=2, features=FeatureConfig(long_side=48)), 0, "recipe.features"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(other: Recipe, seed: int, message: str, tmp_path: Path):
    settings = recipe(steps=2)
    train(start(settings), objects(), of_network(settings), tmp_path, seed=0)
    with pytest.raises(EquiviewError, match=message):
        train(start(other), objects(), of_network(other), tmp_path, seed=seed)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "other"])
def test_a_corrupt_checkpoint_is_named(damage: str, tmp_path: Path):
    settings = recipe(steps=2)
    train(start(settings), objects(), of_network(settings), tmp_path)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"hello"}.get(damage, content))
    if damage == "other":
        torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(EquiviewError, match=r"checkpoint\.pt.*Delete"):
        train(start(settings), objects(), of_network(settings), tmp_path)


def test_a_checkpoint_cannot_run_code(tmp_path: Path):
    class Malicious:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"identity": Malicious()}, tmp_path / "checkpoint.pt")
    settings = recipe(steps=1)
    with pytest.raises(EquiviewError, match="broken file"):
        train(start(settings), objects(), of_network(settings), tmp_path)
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch):
    settings = recipe(steps=2)
    train(start(settings), objects(), of_network(settings), tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(content, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    longer = changed(settings, steps=3)
    with pytest.raises(EquiviewError, match="disk is probably full"):
        train(start(longer), objects(), of_network(longer), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]


def test_accumulation_equals_a_bigger_batch(tmp_path: Path):
    trained = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        settings = recipe(steps=1, batch=batch, accumulate=accumulate, head="residual_conv")
        extractor = start(settings)
        pairs, *_ = prepare_pairs(objects(), of_network(settings), 0, 0)
        optimiser = torch.optim.AdamW(trainable(extractor).values())
        loss = accumulate_gradients(extractor, pairs, of_network(settings), CPU, optimiser)
        trained.append((loss, {n: p.grad.clone() for n, p in trainable(extractor).items()}))
    for loss, gradients in trained[1:]:
        assert loss == pytest.approx(trained[0][0], rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, trained[0][1][name], rtol=1e-3, atol=1e-5)


def test_gradients_are_clipped(tmp_path: Path):
    settings = recipe(clip=0.01)
    extractor = start(settings)
    pairs, *_ = prepare_pairs(objects(), of_network(settings), 0, 0)
    accumulate_gradients(extractor, pairs, of_network(settings), CPU, torch.optim.AdamW(trainable(extractor).values()))
    squares = [p.grad.square().sum() for p in trainable(extractor).values()]
    assert torch.stack(squares).sum().sqrt() == pytest.approx(0.01, rel=1e-3)


def apart() -> list:
    """Two views of the ball from opposite sides."""
    return [sphere_view(camera_at(eye)) for eye in ((2, 0, 0), (-2, 0, 0.0))]


def test_pairs_without_positives_are_counted_and_replaced(tmp_path: Path):
    settings = recipe(steps=12, loss="smooth_ap_published", pairs=PairConfig("published", 3000, max_angle_deg=180.0))
    mixed = objects() | {"two-faced": apart()}
    extractor = start(settings)
    result = train(extractor, mixed, of_network(settings), tmp_path)
    assert set(result.skipped) == {"no common points"} and result.skipped.total() > 2
    assert result.next_pair == 12 + result.skipped.total() and np.isfinite(result.losses).all()
    rows = log_rows(tmp_path)
    assert [row["loss"] for row in rows] == result.losses
    assert sum(row["skipped"].get("no common points", 0) for row in rows) == result.skipped.total()
    # The same after a break: which pair comes next is part of the checkpoint.
    train(start(settings), mixed, of_network(changed(settings, steps=5)), tmp_path / "parts")
    resumed = start(settings)
    assert train(resumed, mixed, of_network(settings), tmp_path / "parts").resumed_from == 5
    assert equal(weights(resumed), weights(extractor))


def test_a_step_without_any_pair_leaves_the_weights_alone_and_says_why(tmp_path: Path):
    settings = recipe(steps=3)
    extractor = start(settings)
    before = weights(extractor)
    with pytest.raises(EquiviewError, match=r"3 of 3 skipped: no overlapping views found"):
        train(extractor, {"two-faced": apart()}, of_network(settings), tmp_path)
    assert equal(before, weights(extractor))


def test_a_run_that_only_skips_gives_up_early(tmp_path: Path):
    settings = recipe(steps=1000)
    with pytest.raises(EquiviewError, match=r"5 of 5 skipped: no overlapping views found \(55\)"):
        train(start(settings), {"two-faced": apart()}, of_network(settings), tmp_path)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_is_skipped_and_never_reaches_the_weights(where: str, tmp_path: Path, monkeypatch):
    original, calls = module.batch_loss, []

    def sometimes(*args):
        loss = original(*args)
        calls.append(1)
        if len(calls) != 2:
            return loss
        return loss * float("nan") if where == "loss" else loss + (loss - loss.detach()) * 3e38 * 10

    monkeypatch.setattr(module, "batch_loss", sometimes)
    settings = recipe(steps=5)
    extractor = start(settings)
    result = train(extractor, objects(), of_network(settings), tmp_path)
    assert result.skipped == {f"step: {where} is not finite": 1} and result.losses[1] is None
    assert all(w.isfinite().all() for w in weights(extractor).values())


def test_an_overrun_ends_a_run_that_can_go_on_and_is_said(tmp_path: Path, caplog):
    settings = recipe(steps=10_000)
    result = train(start(settings), objects(), of_network(settings), tmp_path, stop_after_s=0.2)
    assert result.stopped_by == "time" and 0 < result.steps < 10_000 and 0.2 <= result.seconds < 5
    assert f"overran: time for {result.steps} of 10000 steps" in caplog.text
    again = train(start(settings), objects(), of_network(settings), tmp_path, stop_after_s=0.2)
    assert (again.steps, again.resumed_from) == (result.steps, result.steps)
    more_s = result.seconds + 0.1
    longer = train(start(settings), objects(), of_network(settings), tmp_path, stop_after_s=more_s)
    assert longer.steps > result.steps


def test_a_checkpoint_of_an_earlier_version_is_continued(tmp_path: Path):
    """Its identity was that of the whole recipe; it still tells another learning rate apart."""
    settings = recipe(steps=6)
    whole = start(settings)
    train(whole, objects(), of_network(settings), tmp_path / "whole")
    train(start(settings), objects(), of_network(changed(settings, steps=2)), tmp_path / "old")
    path = tmp_path / "old" / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    identity = {
        k: v for k, v in content["identity"].items() if k not in ("recipe.own_objects_only", "recipe.seen_once")
    }
    features = {"blocks": [], "norm": True, "long_side": 64}
    former = {"format": 1, "recipe.kind": "train", "recipe.head": "none", "recipe.features": features}
    torch.save(content | {"identity": identity | former}, path)
    other = changed(settings, lr=0.5)
    with pytest.raises(EquiviewError, match=r"recipe\.lr"):
        train(start(other), objects(), of_network(other), tmp_path / "old")
    resumed = start(settings)
    assert train(resumed, objects(), of_network(settings), tmp_path / "old").resumed_from == 2
    assert equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("head", ["none", "residual_conv", "random_conv"])
def test_a_bf16_backbone_trains_float32_adapters(head: str, tmp_path: Path):
    settings = recipe(steps=2, head=head)
    extractor = prepare(tiny_backbone().to(torch.bfloat16), settings, seed=0)
    result = train(extractor, objects(), of_network(settings), tmp_path)
    assert not result.skipped and all(p.dtype == torch.float32 for p in trainable(extractor).values())


def test_nothing_to_train_is_an_error(tmp_path: Path):
    settings = recipe(lora=None, head="average")
    with pytest.raises(EquiviewError, match="nothing trainable"):
        train(start(settings), objects(), of_network(settings), tmp_path)


@pytest.mark.parametrize("stride, long_side", [(None, 64), (4, 64), (None, 96)])
def test_training_samples_features_where_extraction_puts_them(stride, long_side: int):
    settings = recipe(features=FeatureConfig(long_side=long_side, stride=stride))
    extractor = start(settings)
    pair = sample_overlapping_pair(objects(), of_network(settings).pairs, seed=0, index=0)
    trained = pair_descriptors(extractor, [pair], CPU)[0]
    maps = list(extractor.maps([objects()["sphere"][v] for v in pair.views]))
    for fmap, xy, found in zip(maps, (pair.xy0, pair.xy1), trained, strict=True):
        torch.testing.assert_close(found, descriptors(fmap, xy), atol=1e-5, rtol=1e-4)


def test_pictures_of_different_sizes_can_share_a_batch():
    settings = recipe()
    extractor = start(settings)
    pairs = [sample_overlapping_pair(objects(), of_network(settings).pairs, seed=0, index=k) for k in range(2)]
    small = {"sphere": [sphere_view(camera_at((2, a, 0.3), hw=(48, 64), focal_px=60)) for a in (0, 0.4)]}
    mixed = [*pairs, sample_overlapping_pair(small, of_network(settings).pairs, seed=0, index=0)]
    alone = torch.stack([batch_loss(extractor, [pair], of_network(settings), CPU) for pair in mixed]).mean()
    torch.testing.assert_close(batch_loss(extractor, mixed, of_network(settings), CPU), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_trains_like_the_cpu(tmp_path: Path):
    settings = recipe(steps=5, head="residual_conv")
    results = {}
    for device in ("cpu", "cuda"):
        extractor = start(settings)
        results[device] = train(extractor, objects(), of_network(settings), tmp_path / device, device=device).losses
    np.testing.assert_allclose(results["cuda"], results["cpu"], rtol=2e-2)
    half = changed(settings, dtype="bfloat16")
    low = train(start(half), objects(), of_network(half), tmp_path / "half", device="cuda")
    np.testing.assert_allclose(low.losses[0], results["cpu"][0], rtol=0.1)
