"""All families: equal to the unmodified `transformers` forward, at any size, block and stride."""

import json
import pickle
from operator import attrgetter
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from equiview.errors import EquiviewError
from equiview.models.backbones import Backbone, load_backbone
from equiview.models.backbones.huggingface import FAMILIES as TABLE
from models.backbones.tiny import PREFIX, SPECS, WHOLE, make_model, make_whole, save

FAMILIES = sorted(SPECS)
# CLIP and SigLIP raise at other sizes unless told; DINOv2 and v3 take no such argument.
TOLD = {"clip", "vit_mae", "deit", "vit", "siglip"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: save(make_model(family), root / family) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def backbone(folders: dict[str, Path], family: str) -> Backbone:
    return load_backbone(folders[family])


def _images(h: int, w: int, count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, h, w, generator=torch.Generator().manual_seed(seed))


def _plain(backbone: Backbone, family: str, images: torch.Tensor) -> list[torch.Tensor]:
    """Hidden states 0..blocks and the last after the norm, from the model's own forward."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.info.mean, backbone.info.std))
    extra = {"interpolate_pos_encoding": True} if family in TOLD else {}
    patch = backbone.info.patch
    count = (images.shape[2] // patch) * (images.shape[3] // patch)
    if family == "vit_mae":
        # Its own forward drops and shuffles tokens: keep all, in order.
        backbone.model.config.mask_ratio = 0.0
        extra["noise"] = torch.arange(count)[None].expand(len(images), -1).float()
    with torch.no_grad():
        out = backbone.model((images - mean) / std, output_hidden_states=True, **extra)
    prefix = PREFIX[family]
    grid = images.shape[2] // patch, images.shape[3] // patch
    states = [*out.hidden_states, out.last_hidden_state]
    assert states[0].shape[1] == prefix + count
    return [s[:, prefix:].transpose(1, 2).unflatten(2, grid) for s in states]


@pytest.mark.parametrize("hw_patches", [(0, 0), (3, 7), (6, 2), (9, 9)], ids=["native", "wide", "tall", "large"])
def test_equals_transformers(backbone: Backbone, family: str, hw_patches: tuple[int, int]) -> None:
    patch = backbone.info.patch
    native = SPECS[family][1]["image_size"] // patch
    rows, cols = hw_patches if hw_patches[0] else (native, native)
    # Three pixels beyond whole patches are not seen, as in transformers.
    extra = 0 if hw_patches[0] == 0 else 3
    images = _images(rows * patch + extra, cols * patch + extra)
    plain = _plain(backbone, family, images)
    with torch.no_grad():
        maps = backbone(images, blocks=(1, 2, 3), norm=False)
        (last,) = backbone(images, blocks=(3,))
    for number, found in enumerate(maps, 1):
        torch.testing.assert_close(found, plain[number], atol=1e-5, rtol=1e-5)
    # transformers leaves CLIP's patch tokens without the post LayerNorm; norm=True applies it.
    expected = backbone.model.post_layernorm(plain[3].movedim(1, -1)).movedim(-1, 1) if family == "clip" else plain[-1]
    torch.testing.assert_close(last, expected, atol=1e-5, rtol=1e-5)


def test_info(backbone: Backbone, family: str, folders: dict[str, Path]) -> None:
    info = backbone.info
    spec = SPECS[family][1]
    assert (info.id, info.family, info.patch) == (str(folders[family]), family, spec["patch_size"])
    assert (info.dim, info.blocks, info.prefix_tokens) == (32, 3, PREFIX[family])
    assert len(info.weights_sha256) == 64
    assert not any(p.requires_grad for p in backbone.parameters())


def test_two_calls_agree_and_batch_does_not_matter(backbone: Backbone) -> None:
    images = _images(70, 98, count=3)
    with torch.no_grad():
        first, again = (backbone(images, blocks=(3,))[0] for _ in range(2))
        alone = backbone(images[1:2], blocks=(3,))[0]
    assert torch.equal(first, again)
    torch.testing.assert_close(first[1:2], alone, atol=1e-5, rtol=1e-5)


def test_tokens_are_where_the_pixels_are(backbone: Backbone) -> None:
    """MAE shuffles its tokens when it can: a change in one patch must change that token of block 1 the most."""
    patch = backbone.info.patch
    images = _images(4 * patch, 6 * patch, count=1)
    for row, col in ((0, 0), (2, 5), (3, 1)):
        changed = images.clone()
        changed[..., row * patch : (row + 1) * patch, col * patch : (col + 1) * patch] = 1.0
        with torch.no_grad():
            before, after = (backbone(x, blocks=(1,), norm=False)[0] for x in (images, changed))
        assert (after - before)[0].norm(dim=0).argmax() == row * 6 + col


def test_norm_is_the_models_last_one(backbone: Backbone) -> None:
    images = _images(64, 64, count=1)
    with torch.no_grad():
        raw, normed = (backbone(images, blocks=(2,), norm=norm)[0] for norm in (False, True))
        norm = attrgetter(TABLE[backbone.info.family].final_norm)(backbone.model)
        torch.testing.assert_close(norm(raw.movedim(1, -1)).movedim(-1, 1), normed)
    assert not torch.allclose(raw, normed)


def test_half_stride(backbone: Backbone) -> None:
    patch, stride = backbone.info.patch, backbone.info.patch // 2
    images = _images(4 * patch + 3, 5 * patch + 1, count=1)
    before = {name: p.clone() for name, p in backbone.model.named_parameters()}
    with torch.no_grad():
        (maps,) = backbone(images, blocks=(3,), stride=stride)
        (same,) = backbone(images, blocks=(3,), stride=patch)
        (default,) = backbone(images, blocks=(3,))
    assert maps.shape == (1, 32, 1 + (images.shape[2] - patch) // stride, 1 + (images.shape[3] - patch) // stride)
    assert torch.equal(same, default)
    assert all(torch.equal(before[name], p) for name, p in backbone.model.named_parameters())


def test_stride_leaves_no_trace_when_something_raises(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(64, 64, count=1)
    with torch.no_grad():
        expected = backbone(images, blocks=(3,))[0]
        with monkeypatch.context() as patch:
            patch.setattr(F, "layer_norm", _raise)
            with pytest.raises(KeyboardInterrupt):
                backbone(images, blocks=(3,), stride=4)
        assert torch.equal(backbone(images, blocks=(3,))[0], expected)


def _raise(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_only_the_blocks_needed_run(backbone: Backbone) -> None:
    ran: list[int] = []
    for number, block in enumerate(attrgetter(TABLE[backbone.info.family].blocks)(backbone.model), 1):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    with torch.no_grad():
        two, one = backbone(_images(64, 64, count=1), blocks=(2, 1))
    assert ran == [1, 2]
    assert not torch.equal(one, two)


def test_gradients_reach_images_and_weights(backbone: Backbone) -> None:
    backbone.requires_grad_(True)
    images = _images(64, 64, count=1).requires_grad_(True)
    sum(m.square().mean() for m in backbone(images, blocks=(1, 3))).backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    q = [p for name, p in backbone.model.named_parameters() if "q_proj.weight" in name]
    assert len(q) == 3 and all(p.grad is not None and p.grad.abs().sum() > 0 for p in q)


def test_lora_of_peft_is_seen(backbone: Backbone) -> None:
    import peft

    images = _images(64, 64, count=1)
    with torch.no_grad():
        expected = backbone(images, blocks=(3,))[0]
    backbone.model = peft.get_peft_model(backbone.model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        torch.testing.assert_close(backbone(images, blocks=(3,))[0], expected)
        for name, p in backbone.model.named_parameters():
            if "lora_B" in name:
                p.fill_(0.1)
    changed = backbone(images, blocks=(3,))[0]
    assert not torch.allclose(changed, expected)
    changed.sum().backward()
    grads = [p.grad for name, p in backbone.model.named_parameters() if "lora_A" in name]
    assert grads and all(g is not None for g in grads)
    with backbone.model.disable_adapter(), torch.no_grad():
        torch.testing.assert_close(backbone(images, blocks=(3,))[0], expected)


def test_bf16_is_close(folders: dict[str, Path], family: str, backbone: Backbone) -> None:
    images = _images(70, 98, count=1)
    low = load_backbone(folders[family], dtype=torch.bfloat16)
    with torch.no_grad():
        (expected,), (found,) = backbone(images, blocks=(3,)), low(images, blocks=(3,))
    assert found.dtype == torch.bfloat16
    assert F.cosine_similarity(found.float(), expected, dim=1).min() > 0.98
    assert low.info.weights_sha256 == backbone.info.weights_sha256


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_vision_encoder_of_a_larger_checkpoint(name: str, tmp_path: Path) -> None:
    whole = make_whole(name)
    backbone = load_backbone(save(whole, tmp_path / "whole"))
    assert backbone.info.family == WHOLE[name]
    inner = dict(whole.named_parameters())
    for key, value in backbone.model.named_parameters():
        # The same tensor under some prefix of the larger model.
        matches = [p for long, p in inner.items() if long == key or long.endswith("." + key)]
        assert any(torch.equal(value, p) for p in matches), key
    assert backbone(_images(60, 90, count=1), blocks=(3,))[0].shape[1] == 32


def test_random_weights(folders: dict[str, Path], family: str) -> None:
    state = torch.random.get_rng_state()
    one, same, other = (load_backbone(folders[family], random_weights_seed=seed) for seed in (0, 0, 1))
    pretrained = load_backbone(folders[family])
    assert torch.equal(torch.random.get_rng_state(), state)
    hashes = {b.info.weights_sha256 for b in (one, other, pretrained)}
    assert len(hashes) == 3 and same.info.weights_sha256 == one.info.weights_sha256
    images = _images(64, 64, count=1)
    assert torch.equal(one(images, blocks=(3,))[0], same(images, blocks=(3,))[0])
    assert torch.isfinite(one(images, blocks=(3,))[0]).all()


@pytest.mark.parametrize("with_table", [name for name in FAMILIES if TABLE[name].table is not None])
def test_random_weights_know_where_they_are(folders: dict[str, Path], with_table: str) -> None:
    """MAE's and DeiT's position tables stay zero in transformers' own initialisation: no control for anything."""
    model = load_backbone(folders[with_table], random_weights_seed=0).model
    assert attrgetter(TABLE[with_table].table)(model).std() > 1e-3


def test_random_weights_are_float32(tmp_path: Path) -> None:
    folder = save(make_model("vit_mae"), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    for seed in (0, None):
        assert {p.dtype for p in load_backbone(folder, random_weights_seed=seed).parameters()} == {torch.float32}
    # MAE's positions are fixed sines.
    table = load_backbone(folder, random_weights_seed=0).model.embeddings.position_embeddings
    assert table.abs().max() == pytest.approx(1.0)


@pytest.mark.parametrize("lora", [False, True])
def test_autocast(backbone: Backbone, lora: bool) -> None:
    """Training in bf16 keeps float32 weights and runs under autocast."""
    if lora:
        import peft

        backbone.model = peft.get_peft_model(backbone.model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    images = _images(70, 98, count=1).requires_grad_(True)
    (expected,) = backbone(images, blocks=(3,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (found,) = backbone(images, blocks=(3,))
    assert F.cosine_similarity(found.float(), expected, dim=1).min() > 0.98
    found.float().square().mean().backward()
    assert images.grad is not None and torch.isfinite(images.grad).all()


def test_training_mode_adds_no_randomness(backbone: Backbone) -> None:
    """DINOv3 shifts and rescales its positions in training mode; a measurement in between must not change."""
    for name in ("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale"):
        if hasattr(backbone.model.config, name):
            setattr(backbone.model.config, name, 2.0)
    images = _images(64, 64, count=1)
    expected = backbone(images, blocks=(3,))[0]
    assert torch.equal(backbone.train()(images, blocks=(3,))[0], expected)


def test_mean_and_std_come_from_the_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    assert load_backbone(folders["siglip"]).info.mean == (0.5, 0.5, 0.5)
    assert load_backbone(folders["dinov2"]).info.mean == (0.485, 0.456, 0.406)
    folder = save(make_model("dinov2"), tmp_path)
    values = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    info = load_backbone(folder).info
    assert (info.mean, info.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    (folder / "preprocessor_config.json").write_text(json.dumps({**values, "do_normalize": False}))
    assert load_backbone(folder).info.std == (1.0, 1.0, 1.0)


def test_random_state_and_logging_of_transformers_are_left_alone(folders: dict[str, Path]) -> None:
    from transformers.utils import logging as hf_logging

    before = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    state = torch.random.get_rng_state()
    load_backbone(folders["dinov2"])
    assert (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()) == before
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(folders: dict[str, Path], family: str, backbone: Backbone) -> None:
    images = _images(70, 98)
    cuda = load_backbone(folders[family], device="cuda")
    low = load_backbone(folders[family], device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        for stride in (None, backbone.info.patch // 2):
            (expected,) = backbone(images, blocks=(3,), stride=stride)
            (found,) = cuda(images.cuda(), blocks=(3,), stride=stride)
            torch.testing.assert_close(found.cpu(), expected, atol=2e-3, rtol=2e-3)
            (coarse,) = low(images.cuda(), blocks=(3,), stride=stride)
            assert F.cosine_similarity(coarse.float().cpu(), expected, dim=1).min() > 0.98


class TestErrors:
    def test_block(self, folders: dict[str, Path]) -> None:
        backbone = load_backbone(folders["dinov2"])
        for blocks in ((0,), (4,), (1, 4), ()):
            with pytest.raises(EquiviewError, match=r"blocks 1\.\.3"):
                backbone(_images(56, 56), blocks=blocks)

    def test_other_arguments(self, folders: dict[str, Path]) -> None:
        backbone = load_backbone(folders["dinov2"])
        for options in ({"stride": 0}, {"stride": 15}, {"position": "timm"}):
            with pytest.raises(EquiviewError):
                backbone(_images(56, 56), blocks=(1,), **options)
        for images in (_images(13, 56), _images(56, 56)[0], (_images(56, 56) * 255).byte()):
            with pytest.raises(EquiviewError, match="images"):
                backbone(images, blocks=(1,))
        with pytest.raises(EquiviewError, match="rotary"):
            load_backbone(folders["dinov3_vit"])(_images(64, 64), blocks=(1,), position="dinov2")

    def test_unsupported_type(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
        with pytest.raises(EquiviewError, match="dinov2.*siglip.*'bert'"):
            load_backbone(tmp_path)

    def test_naflex(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
        with pytest.raises(EquiviewError, match="NaFlex"):
            load_backbone(tmp_path)

    def test_no_config_and_no_weights(self, tmp_path: Path) -> None:
        with pytest.raises(EquiviewError, match=r"config\.json"):
            load_backbone(tmp_path)
        make_model("vit").config.save_pretrained(tmp_path)
        with pytest.raises(EquiviewError, match="weights"):
            load_backbone(tmp_path)

    @pytest.mark.parametrize("keep", [0, 5, 100, 20000])
    def test_truncated_weights(self, tmp_path: Path, keep: int) -> None:
        folder = save(make_model("vit"), tmp_path)
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(EquiviewError, match=r"model\.safetensors"):
            load_backbone(folder)

    def test_missing_weights_are_not_made_up(self, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        folder = save(make_model("vit"), tmp_path)
        state = load_file(folder / "model.safetensors")
        gone = next(key for key in state if "layer.1" in key or "layers.1" in key)
        save_file({k: v for k, v in state.items() if k != gone}, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(EquiviewError, match="missing"):
            load_backbone(folder)

    def test_weights_of_another_size(self, tmp_path: Path) -> None:
        folder = save(make_model("vit"), tmp_path)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
        with pytest.raises(EquiviewError, match="another size"):
            load_backbone(folder)

    @pytest.mark.parametrize("text", ["[]", "{", '{"model_type": "vit", "hidden_size": "x"}'])
    def test_broken_config(self, tmp_path: Path, text: str) -> None:
        folder = save(make_model("vit"), tmp_path)
        (folder / "config.json").write_text(text)
        with pytest.raises(EquiviewError, match=r"config\.json"):
            load_backbone(folder)

    def test_pickled_weights(self, tmp_path: Path) -> None:
        """Older hub models have only these; they are read without running what they contain."""
        model = make_model("vit")
        model.config.save_pretrained(tmp_path)
        file, trace = tmp_path / "pytorch_model.bin", tmp_path / "trace"
        torch.save(model.state_dict(), file)
        whole = file.read_bytes()
        assert load_backbone(tmp_path).info.blocks == 3

        class Malicious:
            def __reduce__(self) -> tuple:
                return Path.touch, (trace,)

        for content in (b"hello" * 100, whole[:3000], b"", pickle.dumps(Malicious(), protocol=2)):
            file.write_bytes(content)
            with pytest.raises(EquiviewError, match="weights of a ViTModel"):
                load_backbone(tmp_path)
        assert not trace.exists()

    def test_a_missing_shard_is_named(self, tmp_path: Path) -> None:
        make_model("vit").save_pretrained(tmp_path, max_shard_size="40KB")
        assert load_backbone(tmp_path).info.blocks == 3
        gone = sorted(tmp_path.glob("*.safetensors"))[1]
        gone.unlink()
        with pytest.raises(EquiviewError, match=gone.name):
            load_backbone(tmp_path)

    @pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", "~nobody/x"])
    def test_not_a_folder(self, name: str) -> None:
        with pytest.raises(EquiviewError, match="save_pretrained"):
            load_backbone(name)

    def test_hub_id_without_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub
        from huggingface_hub.errors import LocalEntryNotFoundError
        from huggingface_hub.utils import httpx

        def not_cached(*args: object, **kwargs: object) -> str:
            raise LocalEntryNotFoundError("not in the cache")

        def silent(*args: object, timeout: float, **kwargs: object) -> None:
            assert timeout <= 10
            raise httpx.ReadTimeout("timed out")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", not_cached)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", silent)
        with pytest.raises(EquiviewError, match=r"timed out.*local-dir"):
            load_backbone("facebook/dinov2-base")

    def test_cached_model_needs_no_network(self, monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]) -> None:
        import huggingface_hub

        def cached(name: str, *, local_files_only: bool = False, **kwargs: object) -> str:
            assert local_files_only
            return str(folders["dinov2"])

        monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
        assert load_backbone("facebook/dinov2-base").info.id == "facebook/dinov2-base"
