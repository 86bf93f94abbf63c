"""The extractor: sizes, geometry in the pixels of the original picture, blocks, heads, gradients and memory."""

import json
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from equiview.errors import EquiviewError
from equiview.models.backbones.base import Backbone, BackboneInfo, grid_hw
from equiview.models.backbones.huggingface import wrap
from equiview.models.extractor import Extractor, FeatureConfig, resize, split_blocks
from equiview.models.heads import AverageHead, HeadChain, LinearHead, ResidualConvHead
from equiview.sampling import sample, token_centers
from equiview.types import FeatureMap
from models.backbones.tiny import make_model
from worlds import sphere_ring

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def _patch_mean(model, images, blocks, *, norm, stride, position, patch=14):
    """A backbone whose token is the mean colour of its patch: it says exactly where it looks."""
    return [F.avg_pool2d(images, patch, stride) * model.scale for _ in blocks]


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


def _mean_backbone(patch: int = 14) -> Backbone:
    info = BackboneInfo("mean", "test", patch, 3, 2, 0, ZERO, ONE, "0" * 64)
    return Backbone(info, _Scale(), partial(_patch_mean, patch=patch))


def _tiny_backbone(family: str = "dinov2") -> Backbone:
    model = make_model(family).requires_grad_(False)
    patch = model.config.patch_size
    return wrap(model, BackboneInfo("tiny", family, patch, 32, 3, 1, ZERO, ONE, "0" * 64))


def _ramp(hw: tuple[int, int]) -> torch.Tensor:
    """A picture whose colours are the pixel's own x and y."""
    ys, xs = torch.meshgrid(torch.arange(hw[0]) + 0.5, torch.arange(hw[1]) + 0.5, indexing="ij")
    return torch.stack([xs, ys, torch.zeros_like(xs)])[None]


def _rgb(h: int, w: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


class TestGeometry:
    @pytest.mark.parametrize("hw", [(512, 512), (480, 640), (301, 213), (40, 97), (1200, 900)])
    @pytest.mark.parametrize(("patch", "stride"), [(14, None), (14, 7), (16, None), (16, 8), (14, 5)])
    def test_a_token_describes_the_pixels_it_says(self, hw: tuple[int, int], patch: int, stride: int | None) -> None:
        extractor = Extractor(_mean_backbone(patch), FeatureConfig(long_side=224, stride=stride))
        with torch.no_grad():
            tokens = extractor(_ramp(hw))[0, :2]
        stride_xy, offset_xy = extractor.geometry(hw)
        fmap = FeatureMap(tokens, stride_xy, offset_xy, hw)
        assert fmap.hw == extractor.grid(hw)
        # The border is left out: antialiasing sees half a window there.
        found = tokens[:, 1:-1, 1:-1]
        expected = token_centers(fmap).T.reshape(2, *fmap.hw)[:, 1:-1, 1:-1]
        torch.testing.assert_close(found, expected, atol=0.02 * max(stride_xy), rtol=1e-4)

    def test_tokens_cover_the_picture_evenly(self) -> None:
        extractor = Extractor(_mean_backbone(), FeatureConfig(long_side=224))
        for hw in ((512, 512), (301, 213)):
            (sx, sy), (ox, oy) = extractor.geometry(hw)
            rows, cols = extractor.grid(hw)
            assert (sx * cols, sy * rows) == pytest.approx((hw[1], hw[0]))
            assert (ox, oy) == pytest.approx((sx / 2, sy / 2))

    def test_a_picture_of_twice_the_size_moves_nothing(self) -> None:
        extractor = Extractor(_mean_backbone(), FeatureConfig(long_side=140))
        small = F.interpolate(
            torch.rand(1, 3, 9, 12, generator=torch.Generator().manual_seed(0)), (90, 120), mode="bicubic"
        )
        large = F.interpolate(small, scale_factor=2, mode="bilinear")
        maps = []
        for image in (small, large):
            hw = tuple(image.shape[2:])
            maps.append(FeatureMap(extractor(image)[0].detach(), *extractor.geometry(hw), hw))
        xy = torch.rand(100, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([120.0, 90.0])
        torch.testing.assert_close(sample(maps[1], 2 * xy), sample(maps[0], xy), atol=0.02, rtol=0)

    def test_network_size_is_whole_patches_near_the_long_side(self) -> None:
        extractor = Extractor(_mean_backbone())
        assert extractor.network_hw((512, 512)) == (644, 644)
        assert extractor.network_hw((480, 640)) == (476, 644)
        assert extractor.network_hw((3, 1000)) == (14, 644)
        assert Extractor(_mean_backbone(16)).network_hw((512, 512)) == (640, 640)

    def test_whole_patches_of_the_right_size_are_not_resampled(self) -> None:
        images = torch.rand(1, 3, 28, 42)
        assert resize(images, (28, 42)) is images

    def test_one_patch_is_enough(self) -> None:
        (fmap,) = Extractor(_tiny_backbone(), FeatureConfig(long_side=14)).maps([_rgb(3, 5)])
        assert fmap.hw == (1, 1) and torch.isfinite(fmap.tokens).all()


class TestFeatures:
    def test_one_block_is_raw_and_the_default_is_the_last(self) -> None:
        backbone = _tiny_backbone()
        images = torch.rand(2, 3, 56, 84)
        default = Extractor(backbone, FeatureConfig(long_side=84))
        (expected,) = backbone(images, blocks=(3,))
        assert torch.equal(default(images), expected)
        raw = Extractor(backbone, FeatureConfig(blocks=(2,), norm=False, long_side=84))
        assert torch.equal(raw(images), backbone(images, blocks=(2,), norm=False)[0])

    def test_several_blocks_are_normalised_each_and_concatenated(self) -> None:
        backbone = _tiny_backbone()
        images = torch.rand(1, 3, 56, 84)
        found = Extractor(backbone, FeatureConfig(blocks=(3, 1), long_side=84))(images)
        parts = [F.normalize(m, dim=1) for m in backbone(images, blocks=(3, 1))]
        assert torch.equal(found, torch.cat(parts, 1))

    def test_split_blocks_undoes_the_concatenation(self) -> None:
        backbone = _tiny_backbone()
        (fmap,) = Extractor(backbone, FeatureConfig(blocks=(1, 3), long_side=84)).maps([_rgb(56, 84)])
        for block, part in zip((1, 3), split_blocks(fmap, 2), strict=True):
            (alone,) = Extractor(backbone, FeatureConfig(blocks=(block,), long_side=84)).maps([_rgb(56, 84)])
            torch.testing.assert_close(part.tokens, F.normalize(alone.tokens, dim=0))
            assert (part.stride_xy, part.offset_xy) == (fmap.stride_xy, fmap.offset_xy)
        with pytest.raises(EquiviewError, match="divides 64"):
            split_blocks(fmap, 3)

    def test_the_head_comes_last(self) -> None:
        backbone = _tiny_backbone()
        images = torch.rand(1, 3, 56, 84)
        head = HeadChain([AverageHead(3), ResidualConvHead(32)])
        config = FeatureConfig(long_side=84)
        assert torch.equal(Extractor(backbone, config, head)(images), head(Extractor(backbone, config)(images)))

    def test_gradients_reach_head_weights_and_images(self) -> None:
        backbone = _tiny_backbone().requires_grad_(True)
        head = ResidualConvHead(64)
        extractor = Extractor(backbone, FeatureConfig(blocks=(1, 2), long_side=56), head)
        images = torch.rand(1, 3, 40, 50, requires_grad=True)
        extractor(images).square().mean().backward()
        block = backbone.model.encoder.layer
        for gradient in (images.grad, head.conv.weight.grad, block[1].attention.q_proj.weight.grad):
            assert gradient is not None and gradient.abs().sum() > 0
        assert block[2].attention.q_proj.weight.grad is None

    def test_stride_and_position_are_passed_on(self) -> None:
        backbone = _tiny_backbone()
        images = torch.rand(1, 3, 56, 84)
        found = Extractor(backbone, FeatureConfig(long_side=84, stride=7, position="dinov2"))(images)
        assert torch.equal(found, backbone(images, blocks=(3,), stride=7, position="dinov2")[0])
        assert found.shape[2:] == (7, 11)


class TestMaps:
    def test_sizes_may_differ_and_order_stays(self) -> None:
        extractor = Extractor(_tiny_backbone(), FeatureConfig(long_side=56))
        pictures = [_rgb(40, 56, 0), _rgb(40, 56, 1), _rgb(56, 30, 2), _rgb(40, 56, 3), _rgb(40, 56, 4)]
        together = list(extractor.maps(pictures, batch_size=2))
        for picture, fmap in zip(pictures, together, strict=True):
            (alone,) = extractor.maps([picture])
            torch.testing.assert_close(fmap.tokens, alone.tokens, atol=1e-5, rtol=1e-5)
            assert fmap.image_hw == picture.shape[:2] and fmap.stride_xy == alone.stride_xy
            assert fmap.tokens.dtype == torch.float32 and not fmap.tokens.requires_grad

    def test_equals_forward(self) -> None:
        extractor = Extractor(_tiny_backbone(), FeatureConfig(long_side=56))
        picture = _rgb(40, 56)
        (fmap,) = extractor.maps([picture])
        images = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        torch.testing.assert_close(fmap.tokens, extractor(images)[0])

    def test_views_and_pictures_agree(self) -> None:
        extractor = Extractor(_tiny_backbone(), FeatureConfig(long_side=56))
        views = sphere_ring(2)
        for a, b in zip(extractor.maps(views), extractor.maps([v.rgb for v in views]), strict=True):
            assert torch.equal(a.tokens, b.tokens)

    def test_only_one_batch_is_read_ahead(self) -> None:
        extractor = Extractor(_tiny_backbone(), FeatureConfig(long_side=28))
        taken: list[int] = []

        def pictures():
            for number in range(10):
                taken.append(number)
                yield _rgb(28, 28, number)

        maps = extractor.maps(pictures(), batch_size=3)
        next(maps)
        assert len(taken) <= 4

    def test_no_pictures_no_maps(self) -> None:
        assert list(Extractor(_tiny_backbone()).maps([])) == []

    @pytest.mark.parametrize(
        "picture",
        [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)],
    )
    def test_other_arrays_are_refused(self, picture: np.ndarray) -> None:
        with pytest.raises(EquiviewError, match="8-bit RGB"):
            list(Extractor(_tiny_backbone()).maps([picture]))

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_cuda_equals_cpu(self) -> None:
        config = FeatureConfig(blocks=(1, 3), long_side=84)
        cpu = list(Extractor(_tiny_backbone(), config).maps([_rgb(60, 90)]))
        cuda = list(Extractor(_tiny_backbone(), config).to("cuda").maps([_rgb(60, 90)], device="cpu"))
        torch.testing.assert_close(cuda[0].tokens, cpu[0].tokens, atol=2e-3, rtol=2e-3)
        assert cuda[0].tokens.device.type == "cpu"


def test_describe_is_json_and_names_everything() -> None:
    head = LinearHead(torch.eye(64), torch.zeros(64))
    record = Extractor(_tiny_backbone(), FeatureConfig(blocks=(1, 3), stride=7), head).describe()
    assert json.loads(json.dumps(record)) == record
    assert record["blocks"] == [1, 3] and record["stride"] == 7 and record["head"][0]["kind"] == "linear"
    assert Extractor(_tiny_backbone()).describe()["blocks"] == [3]
    assert Extractor(_tiny_backbone()).describe()["stride"] == 14


def test_bad_settings_are_refused_at_once() -> None:
    with pytest.raises(EquiviewError, match=r"blocks 1\.\.3"):
        Extractor(_tiny_backbone(), FeatureConfig(blocks=(4,)))
    with pytest.raises(EquiviewError, match="patch of 14"):
        Extractor(_tiny_backbone(), FeatureConfig(long_side=13))
    with pytest.raises(EquiviewError, match="stride"):
        Extractor(_tiny_backbone(), FeatureConfig(stride=15))
    with pytest.raises(EquiviewError, match="position"):
        Extractor(_tiny_backbone(), FeatureConfig(position="timm"))


@pytest.mark.shared
def test_real_weights_tell_a_picture_from_its_neighbourhood(deit_tiny) -> None:
    """The trained network keeps a moved picture's features: far above what its random twin would by chance."""
    from equiview.models.backbones import load_backbone

    extractor = Extractor(load_backbone(deit_tiny), FeatureConfig(long_side=224))
    assert extractor.describe()["weights_sha256"].startswith("45824c46")
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    image = F.interpolate(coarse, (256, 256), mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        a, b = (extractor(x[..., :224, :224])[0] for x in (image, image.roll((-16, -32), (2, 3))))
    similarity = F.cosine_similarity(a[:, 2:13, 4:13], b[:, 1:12, 2:11], dim=0).mean()
    other = F.cosine_similarity(a[:, 2:13, 4:13], b[:, 2:13, 4:13], dim=0).mean()
    assert similarity > other + 0.1


def test_grid_counts_as_a_convolution_does() -> None:
    for size in range(14, 60):
        for stride in (5, 7, 14):
            assert (
                grid_hw((size, size), 14, stride)[0]
                == F.conv1d(torch.zeros(1, 1, size), torch.zeros(1, 1, 14), stride=stride).shape[2]
            )


class TestSeveral:
    """A picture in several sizes, and mirrored."""

    def test_once_at_its_own_size_is_the_plain_features_of_unit_blocks(self) -> None:
        images = torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))
        backbone = _tiny_backbone()
        plain, once = (
            Extractor(backbone, FeatureConfig((1, 3), long_side=84, sizes=sizes)).eval() for sizes in ((), (1.0,))
        )
        torch.testing.assert_close(once(images), plain(images), atol=1e-6, rtol=0)

    def test_half_of_the_mirrored_picture_makes_left_and_right_alike(self) -> None:
        images = torch.rand(1, 3, 56, 84, generator=torch.Generator().manual_seed(0))
        extractor = Extractor(
            _tiny_backbone(), FeatureConfig((1, 3), long_side=84, sizes=(0.7, 1.4), mirrored=0.5)
        ).eval()
        torch.testing.assert_close(extractor(images.flip(3)), extractor(images).flip(3), atol=1e-5, rtol=0)
        quarter = Extractor(_tiny_backbone(), FeatureConfig((1, 3), long_side=84, mirrored=0.25)).eval()
        assert (quarter(images.flip(3)) - quarter(images).flip(3)).abs().max() > 1e-2

    @pytest.mark.parametrize(("sizes", "mirrored"), [((0.5, 1.0, 2.0), 0.0), ((0.75, 1.5), 0.0), ((), 0.25)])
    def test_every_size_says_the_same_place(self, sizes: tuple[float, ...], mirrored: float) -> None:
        hw = (224, 336)
        ramp = _ramp(hw)
        ramp[:, 2] = 150  # A direction that tells where it was seen; mirrored pictures carry their own places along.
        extractor = Extractor(_mean_backbone(), FeatureConfig(long_side=336, sizes=sizes, mirrored=mirrored)).eval()
        (tokens,) = extractor(ramp).detach()
        assert tokens.shape[1:] == extractor.grid(hw)
        found = (150 * tokens[:2] / tokens[2])[:, 2:-2, 2:-2]
        stride, offset = extractor.geometry(hw)
        rows, cols = torch.meshgrid(*(torch.arange(n).float() for n in tokens.shape[1:]), indexing="ij")
        true = torch.stack([offset[0] + stride[0] * cols, offset[1] + stride[1] * rows])[:, 2:-2, 2:-2]
        assert (found - true).abs().max() < 0.5

    def test_it_is_in_the_description_and_half_precision_works(self) -> None:
        config = FeatureConfig((1, 3), long_side=84, sizes=(0.7, 1.0), mirrored=0.25)
        extractor = Extractor(_tiny_backbone(), config).eval()
        assert extractor.describe()["sizes"] == [0.7, 1.0] and extractor.describe()["mirrored"] == 0.25
        assert "sizes" not in Extractor(_tiny_backbone()).describe()
        images = torch.rand(1, 3, 50, 70)
        with torch.autocast("cpu", torch.bfloat16):
            half = extractor(images)
        assert (half.float() - extractor(images)).abs().max() < 0.05

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"sizes": (1.0, 0.0)}, "sizes"),
            ({"sizes": (float("nan"),)}, "sizes"),
            ({"mirrored": 0.6}, "mirrored"),
            ({"mirrored": 0.2, "stride": 7}, "Leave the stride out"),
        ],
    )
    def test_what_it_refuses(self, settings: dict, said: str) -> None:
        with pytest.raises(EquiviewError, match=said):
            FeatureConfig(**settings)
