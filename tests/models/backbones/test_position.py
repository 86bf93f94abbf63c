"""Position tables and rotary coordinates, and the original DINOv2 code as the reference."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from equiview.errors import EquiviewError
from equiview.models.backbones.dinov2_names import backbone_from_dinov2, transformers_state
from equiview.models.backbones.position import resample_table, rotary
from equiview.models.extractor import resize
from equiview.sampling import descriptors, sample
from equiview.types import FeatureMap
from models.backbones.original import conv, tiny, weights

STRIDED = ["A_stride7", "A_stride7_odd_grid", "A_stride14", "R_square_native_shortcut", "R_stride7"]
WHOLE = [
    "A_square_up",
    "A_landscape_odd",
    "A_portrait_odd",
    "A_batch2",
    "A_downsample",
    "A_native640",
    "R_square_up",
    "R_landscape",
]


def _table(side: int, dim: int = 6) -> torch.Tensor:
    return torch.randn(side * side, dim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("antialias", [False, True])
def test_the_same_grid_is_the_same_table(antialias: bool) -> None:
    table = _table(5)
    assert torch.equal(resample_table(table, (5, 5), antialias=antialias, square_image=True), table)
    # Also when the picture is not square (a few pixels beyond whole patches): resampling to the same size is exact.
    torch.testing.assert_close(resample_table(table, (5, 5), antialias=antialias), table)
    assert torch.equal(resample_table(table, (5, 5), position="dinov2", square_image=True), table)


def test_the_two_ways_differ_and_both_are_row_by_row() -> None:
    table = _table(4)
    for position in ("hf", "dinov2"):
        out = resample_table(table, (3, 7), position=position)
        assert out.shape == (21, 6)
        flipped = resample_table(table.reshape(4, 4, 6).transpose(0, 1).reshape(16, 6), (7, 3), position=position)
        torch.testing.assert_close(flipped.reshape(7, 3, 6).transpose(0, 1).reshape(21, 6), out)
    assert not torch.allclose(resample_table(table, (3, 7)), resample_table(table, (3, 7), position="dinov2"))


def test_resampling_is_float32_whatever_the_table() -> None:
    table = _table(4).bfloat16()
    out = resample_table(table, (6, 6))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, resample_table(table.float(), (6, 6)).bfloat16())


def test_a_table_that_is_not_square_is_refused() -> None:
    with pytest.raises(EquiviewError, match="square"):
        resample_table(torch.zeros(12, 2), (3, 4))


def test_rotary_of_whole_patches_is_transformers() -> None:
    from transformers import DINOv3ViTConfig
    from transformers.models.dinov3_vit.modeling_dinov3_vit import DINOv3ViTRopePositionEmbedding

    config = DINOv3ViTConfig(hidden_size=32, num_attention_heads=2, patch_size=16, image_size=64)
    plain = DINOv3ViTRopePositionEmbedding(config).eval()(torch.zeros(1, 3, 50, 100))
    ours = rotary((3, 6), patch=16, stride=16, head_dim=16, theta=config.rope_theta, like=torch.zeros(1))
    for found, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_rotary_of_half_patches_follows_the_pixels() -> None:
    """Every second token of stride p/2 sits on a token of stride p, and must turn as that one does."""
    options = {"patch": 16, "head_dim": 16, "theta": 100.0, "like": torch.zeros(1)}
    dense = rotary((7, 11), stride=8, **options)
    whole = rotary((4, 6), stride=16, **options)
    for fine, coarse in zip(dense, whole, strict=True):
        every_second = fine.reshape(7, 11, -1)[::2, ::2].reshape(24, -1)
        torch.testing.assert_close(every_second, coarse, atol=1e-5, rtol=0)


def test_rotary_in_bf16_keeps_float32_frequencies() -> None:
    options = {"patch": 16, "stride": 16, "head_dim": 16, "theta": 100.0}
    low = rotary((40, 40), like=torch.zeros(1, dtype=torch.bfloat16), **options)
    high = rotary((40, 40), like=torch.zeros(1), **options)
    for found, expected in zip(low, high, strict=True):
        assert torch.equal(found, expected.bfloat16())


class TestNames:
    def test_qkv_is_split_in_order_and_chunks_count_through(self) -> None:
        qkv = torch.arange(9.0)
        out = transformers_state({"blocks.2.11.attn.qkv.bias": qkv})
        assert {k: v.tolist() for k, v in out.items()} == {
            "encoder.layer.11.attention.q_proj.bias": [0.0, 1.0, 2.0],
            "encoder.layer.11.attention.k_proj.bias": [3.0, 4.0, 5.0],
            "encoder.layer.11.attention.v_proj.bias": [6.0, 7.0, 8.0],
        }
        assert list(transformers_state({"blocks.3.mlp.w12.weight": qkv})) == [
            "encoder.layer.3.mlp.gate_proj.weight",
            "encoder.layer.3.mlp.up_proj.weight",
        ]

    def test_unknown_and_missing_names(self) -> None:
        with pytest.raises(EquiviewError, match="dino_head"):
            transformers_state({"dino_head.mlp.weight": torch.zeros(1)})
        with pytest.raises(EquiviewError, match="pos_embed"):
            backbone_from_dinov2({"norm.weight": torch.zeros(4)})

    @pytest.mark.shared
    def test_one_missing_weight(self, golden: Path) -> None:
        state = {k.removeprefix("vit/"): v for k, v in weights(golden, "A").items() if k.startswith("vit/")}
        del state["blocks.3.ls1.gamma"]
        with pytest.raises(EquiviewError, match="layer_scale1"):
            backbone_from_dinov2(state, heads=4)


@pytest.mark.shared
@pytest.mark.parametrize("case", STRIDED)
def test_golden_strided(golden: Path, case: str) -> None:
    """Features at a patch stride of 7, positions (n + 0.1) / M (f04)."""
    data = np.load(golden / "f04_strided_vit.npz")
    which, stride = str(data[f"{case}/in/vit"]), int(data[f"{case}/in/stride"])
    backbone = tiny(golden, which, lora=True)
    images = torch.from_numpy(data[f"{case}/in/rgb_uint8"])[None].float() / 255
    last = (backbone.info.blocks,)
    (raw,) = backbone(images, blocks=last, norm=False, stride=stride, position="dinov2")
    (normed,) = backbone(images, blocks=last, stride=stride, position="dinov2")
    assert list(raw.shape[2:]) == data[f"{case}/out/grid"].tolist()
    np.testing.assert_allclose(raw[..., ::2, ::2], data[f"{case}/out/prenorm"], atol=1e-3)
    np.testing.assert_allclose(normed[..., ::2, ::2], data[f"{case}/out/norm_patch"], atol=1e-3)
    refined = conv(golden, which)(raw)
    np.testing.assert_allclose(refined, data[f"{case}/out/refined_from_prenorm"], atol=1e-3)
    # The table alone.
    table = backbone.model.embeddings.position_embeddings[0, 1:]
    square = images.shape[2] == images.shape[3]
    grid = tuple(raw.shape[2:])
    found = resample_table(table, grid, position="dinov2", square_image=square).T.reshape(-1, *grid)
    np.testing.assert_allclose(found[::4], data[f"{case}/out/pos_embed_grid"], atol=1e-5)


def _reference_input(rgb: torch.Tensor, target: int) -> torch.Tensor:
    """Size the network input as the reference does: long side to `target`, one token per 8 of these pixels."""
    h, w = rgb.shape[2:]
    scaled = (target, int(w * target / h)) if h >= w else (int(h * target / w), target)
    return resize(rgb, tuple(side // 8 * 14 for side in scaled))


@pytest.mark.shared
@pytest.mark.parametrize("case", WHOLE)
def test_golden_features(golden: Path, case: str) -> None:
    """The reference's features at points, LoRA and head included (f03)."""
    data = np.load(golden / "f03_get_feature.npz")
    which = str(data[f"{case}/in/vit"])
    rgb = torch.from_numpy(data[f"{case}/in/rgb_uint8"]).float() / 255
    points = torch.from_numpy(data[f"{case}/in/pts"])
    network = _reference_input(rgb, int(data[f"{case}/in/target_res"]))
    assert list(network.shape) == data[f"{case}/out/network_input_shape"].tolist()
    backbone, head = tiny(golden, which, lora=True), conv(golden, which)
    (normed,) = backbone(network, blocks=(backbone.info.blocks,), position="dinov2")
    step = int(data[f"{case}/out/map_sub_step"])
    np.testing.assert_allclose(normed[..., ::step, ::step], data[f"{case}/out/norm_patchtokens_map_sub"], atol=1e-4)
    refined = head(normed)
    np.testing.assert_allclose(refined[..., ::step, ::step], data[f"{case}/out/refined_map_sub"], atol=1e-4)
    scale_x, scale_y = rgb.shape[3] / network.shape[3], rgb.shape[2] / network.shape[2]
    for number, (tokens, xy) in enumerate(zip(refined, points, strict=True)):
        fmap = FeatureMap(tokens, (14 * scale_x, 14 * scale_y), (7 * scale_x, 7 * scale_y), tuple(rgb.shape[2:]))
        np.testing.assert_allclose(descriptors(fmap, xy), data[f"{case}/out/feat"][number], atol=2e-5)
        np.testing.assert_allclose(sample(fmap, xy), data[f"{case}/out/feat_unnormalized"][number], atol=1e-4)
    if f"{case}/out/dense_every4px" in data.files:
        dense = F.interpolate(refined, rgb.shape[2:], mode="bilinear", antialias=True)
        unit = F.normalize(dense, dim=1)[..., ::4, ::4].permute(0, 2, 3, 1)
        np.testing.assert_allclose(unit, data[f"{case}/out/dense_every4px"], atol=2e-5)


@pytest.mark.shared
def test_golden_features_without_lora(golden: Path) -> None:
    data = np.load(golden / "f03_get_feature.npz")
    case = "A_landscape_odd"
    rgb = torch.from_numpy(data[f"{case}/in/rgb_uint8"]).float() / 255
    network = _reference_input(rgb, int(data[f"{case}/in/target_res"]))
    tokens = conv(golden, "A")(tiny(golden, "A")(network, blocks=(6,), position="dinov2")[0])[0]
    scale_x, scale_y = rgb.shape[3] / network.shape[3], rgb.shape[2] / network.shape[2]
    fmap = FeatureMap(tokens, (14 * scale_x, 14 * scale_y), (7 * scale_x, 7 * scale_y), tuple(rgb.shape[2:]))
    found = descriptors(fmap, torch.from_numpy(data[f"{case}/in/pts"])[0])
    np.testing.assert_allclose(found, data[f"{case}/out/feat_with_lora_b_zero"][0], atol=2e-5)
