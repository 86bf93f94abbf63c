# Copyright the equiview contributors. Licensed under the Apache License, Version 2.0.
"""The model of a folder written by `equiview export`. It needs torch and transformers (5 or newer) only.

    model = AutoModel.from_pretrained(FOLDER, trust_remote_code=True)
    out = model(pixel_values=model.preprocess(images))   # images: float RGB [b, 3, h, w] in 0..1
    out.feature_map                                      # [b, c, rows, cols]
    out.last_hidden_state                                # the same tokens, row by row: [b, rows * cols, c]

The token in row i and column j is centred on pixel (patch / 2 + stride * (j, i)) of the picture at the size
`model.network_hw(h, w)` (that of `pixel_values`, unless the model sees pictures in several sizes), where (0.5, 0.5) is
the centre of the first pixel. Compare tokens by cosine.
"""

import math
from dataclasses import dataclass
from operator import attrgetter

import torch
import torch.nn.functional as F
import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput, logging

logger = logging.get_logger(__name__)


class EquiviewConfig(PretrainedConfig):
    """What `config.json` says: the encoder's own config, where its parts are, and how features are made of it."""

    model_type = "equiview"

    def __init__(
        self, backbone_config=None, encoder=None, features=None, head=None, image_mean=None, image_std=None, **kwargs
    ):
        self.backbone_config = backbone_config or {}
        self.encoder = encoder or {}
        self.features = features or {}
        self.head = head or []
        self.image_mean = image_mean or [0.0, 0.0, 0.0]
        self.image_std = image_std or [1.0, 1.0, 1.0]
        super().__init__(**kwargs)


@dataclass
class EquiviewOutput(ModelOutput):
    """Tokens as a sequence and as a map."""

    last_hidden_state: torch.FloatTensor | None = None
    feature_map: torch.FloatTensor | None = None


class Average(nn.Module):
    """Mean over neighbouring tokens, border tokens repeated."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel = kernel

    def forward(self, maps):
        return F.avg_pool2d(F.pad(maps, (self.kernel // 2,) * 4, mode="replicate"), self.kernel, stride=1)


class Center(nn.Module):
    """Subtract each image's mean over tokens, weighted by their squared distance from the plain mean."""

    def forward(self, maps):
        tokens = maps.float()
        tokens = tokens - tokens.mean((2, 3), keepdim=True)
        weights = tokens.square().sum(1, keepdim=True)
        weights = weights / weights.amax((2, 3), keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        total = weights.sum((2, 3), keepdim=True).clamp(min=1)
        return (tokens - (tokens * weights).sum((2, 3), keepdim=True) / total).to(maps.dtype)


class Whiten(nn.Module):
    """Multiply each image's tokens by (C / v + ridge)^(-power / 2): C their second moment, v its mean."""

    def __init__(self, power, ridge, method="exact", rank=128):
        super().__init__()
        self.power, self.ridge, self.method, self.rank = power, ridge, method, rank

    def forward(self, maps):
        tokens = maps.flatten(2).float()
        exactly = self.method == "exact" or min(tokens.shape[1:]) <= self.rank
        return (self.exact(tokens) if exactly else self.low_rank(tokens)).reshape(maps.shape).to(maps.dtype)

    def exact(self, tokens):
        few = tokens.shape[2] < tokens.shape[1]
        rows = (tokens.mT if few else tokens).detach()  # Gradients take the matrix as given.
        values, vectors = torch.linalg.eigh(rows @ rows.mT / tokens.shape[2])
        gains = self.gains(values, values.clamp(min=0).sum(1, keepdim=True) / tokens.shape[1])
        matrix = (vectors * gains[:, None]) @ vectors.mT
        return tokens @ matrix if few else matrix @ tokens

    def low_rank(self, tokens):
        with torch.autocast(tokens.device.type, enabled=False):
            found, rest, vectors, mean = largest_directions(tokens.detach(), self.rank)
            gain = self.gains(rest, mean)
            change = (vectors * (self.gains(found, mean) - gain)[:, None]) @ (vectors.mT @ tokens)
            return gain[:, None] * tokens + change

    def gains(self, values, mean):
        mean = mean.clamp(min=torch.finfo(values.dtype).tiny)
        return (values.clamp(min=0) / mean + self.ridge) ** (-self.power / 2)


class Debias(nn.Module):
    """Project every block's tokens off its position directions, and L2-normalise them."""

    def __init__(self, blocks, dim, count):
        super().__init__()
        self.register_buffer("directions", torch.zeros(blocks, dim, count))

    def forward(self, maps):
        blocks, dim, _ = self.directions.shape
        tokens = maps.float().reshape(maps.shape[0], blocks, dim, -1)
        directions = self.directions.float()
        tokens = tokens - directions @ (directions.mT @ tokens)
        return F.normalize(tokens, dim=2).reshape(maps.shape).to(maps.dtype)


@torch.no_grad()
def largest_directions(tokens, rank):
    """Variances and directions of the largest ones, by subspace iteration, and the means of all others and of all."""
    channels, count = tokens.shape[1:]
    start = torch.randn(count, rank, generator=torch.Generator().manual_seed(0)).to(tokens.device)
    spread = tokens @ orthonormal(tokens.mT @ orthonormal(tokens @ start))
    values, turn = torch.linalg.eigh(spread.mT @ spread)
    scale = torch.where(values > 1e-6 * values[:, -1:], values, torch.inf).rsqrt()
    values = values.clamp(min=0) / count
    total = tokens.square().sum((1, 2))[:, None] / count
    rest = (total - values.sum(1, keepdim=True)).clamp(min=0) / (min(channels, count) - rank)
    return values, rest, spread @ (turn * scale[:, None]), total / channels


def orthonormal(columns):
    """Columns of the same span at right angles; those too small for float32 come out shorter."""
    gram = columns.mT @ columns
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    floor = (1e-6 * trace).clamp(min=torch.finfo(gram.dtype).tiny)
    factor, _ = torch.linalg.cholesky_ex(gram + floor * torch.eye(gram.shape[1], device=gram.device))
    return torch.linalg.solve_triangular(factor.mT, columns, upper=True, left=False)


class Conv(nn.Module):
    """3x3 convolution with zero padding; when residual, `strength` of it is added to its input."""

    def __init__(self, dim, residual, strength=1.0):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)
        self.residual, self.strength = residual, strength

    def forward(self, maps):
        if not self.residual:
            return self.conv(maps)
        return maps + self.strength * self.conv(maps) if self.strength > 0 else maps


class Linear(nn.Module):
    """matrix @ (token - mean), or `strength` of the way from the token to it."""

    def __init__(self, inputs, outputs, strength=1.0):
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(outputs, inputs))
        self.mean = nn.Parameter(torch.zeros(inputs))
        self.strength = strength

    def forward(self, maps):
        if self.strength == 0:
            return maps
        full = torch.einsum("oc,bchw->bohw", self.matrix, maps - self.mean[:, None, None])
        return full if self.strength == 1 else maps + self.strength * (full - maps)


class Fine(nn.Module):
    """Unit features beside unit features that `parts` make of what the head was given, these times sqrt(weight)."""

    def __init__(self, parts, weight):
        super().__init__()
        self.fine, self.weight = nn.ModuleList(build_head(part) for part in parts), weight

    def forward(self, coarse, maps):
        fine = apply_parts(self.fine, maps)
        return torch.cat([F.normalize(coarse, dim=1), math.sqrt(self.weight) * F.normalize(fine, dim=1)], 1)


def apply_parts(parts, maps):
    """Apply the parts of a head in order; a fine one is also given what the first one was."""
    given = maps
    for part in parts:
        maps = part(maps, given) if isinstance(part, Fine) else part(maps)
    return maps


def resized(images, size):
    """Resize bilinearly, antialiased, with half-pixel centres."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


BUILDERS = {
    "average": lambda part: Average(part["kernel"]),
    "center": lambda part: Center(),
    "whiten": lambda part: Whiten(part["power"], part["ridge"], part.get("method", "exact"), part.get("rank", 128)),
    "debias": lambda part: Debias(part["blocks"], part["dim"], part["directions"]),
    "random_conv": lambda part: Conv(part["dim"], residual=False),
    "residual_conv": lambda part: Conv(part["dim"], residual=True, strength=part.get("strength", 1.0)),
    "linear": lambda part: Linear(part["in"], part["out"], part.get("strength", 1.0)),
    "fine": lambda part: Fine(part["parts"], part["weight"]),
}


def build_head(part):
    """Make one part of the head from its entry in `config.json`."""
    if part["kind"] not in BUILDERS:
        raise ValueError(f"config.json: expected a head of kind {', '.join(BUILDERS)}, got {part['kind']!r}")
    return BUILDERS[part["kind"]](part)


class EquiviewFeatureModel(PreTrainedModel):
    """Vision Transformer with merged finetuning, chosen blocks and head."""

    config_class = EquiviewConfig
    main_input_name = "pixel_values"
    base_model_prefix = "equiview"
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        if int(transformers.__version__.split(".")[0]) < 5:
            raise ImportError(f"this model needs transformers 5 or newer, found {transformers.__version__}: upgrade it")
        model_class = getattr(transformers, config.encoder["model_class"])
        self.encoder = model_class(
            model_class.config_class.from_dict(dict(config.backbone_config)), **config.encoder["options"]
        )
        self.head = nn.ModuleList(build_head(part) for part in config.head)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        """Every weight is in the file; nothing is initialised here."""

    def part(self, name):
        path = self.config.encoder[name]
        return None if path is None else attrgetter(path)(self.encoder)

    @property
    def patch(self):
        return self.part("patch_conv").kernel_size[0]

    @property
    def stride(self):
        return self.config.features["stride"] or self.patch

    def network_hw(self, height, width):
        """Size an image is resized to: the long side as configured, both sides whole patches."""
        scale = self.config.features["long_side"] / max(height, width)
        return tuple(max(1, round(side * scale / self.patch)) * self.patch for side in (height, width))

    @property
    def several(self):
        return bool(self.config.features.get("sizes") or self.config.features.get("mirrored"))

    def preprocess(self, images):
        """Resize (bilinear, antialiased) and normalise float RGB [b, 3, h, w] in 0..1.

        A model that sees pictures in several sizes or mirrored resizes them by itself: here they are only normalised.
        """
        size = self.network_hw(*images.shape[2:])
        mean, std = (images.new_tensor(v)[:, None, None] for v in (self.config.image_mean, self.config.image_std))
        return ((images if self.several else resized(images, size)) - mean) / std

    def forward(self, pixel_values, return_dict=True, **kwargs):
        height, width = pixel_values.shape[2:]
        if self.several:
            features = self.seen_several_times(pixel_values)
        else:
            if self.network_hw(height, width) != (height, width):
                words = "pixel_values of %d x %d: this model was made for %d x %d, use model.preprocess(images)"
                logger.warning_once(words % (height, width, *self.network_hw(height, width)))
            maps = self.block_maps(pixel_values)
            features = maps[0] if len(maps) == 1 else torch.cat([F.normalize(one, dim=1) for one in maps], 1)
        features = apply_parts(self.head, features)
        sequence = features.flatten(2).transpose(1, 2)
        return EquiviewOutput(sequence, features) if return_dict else (sequence, features)

    def seen_several_times(self, pixel_values):
        """Average the unit features of every size and of the mirrored picture, on the tokens of size 1."""
        height, width = self.network_hw(*pixel_values.shape[2:])
        share, total = self.config.features["mirrored"], 0
        for size in self.config.features["sizes"] or [1.0]:
            hw = tuple(max(1, round(size * side / self.patch)) * self.patch for side in (height, width))
            own = self.units(torch.cat(self.block_maps(resized(pixel_values, hw)), 1))
            if share:
                mirror = self.units(torch.cat(self.block_maps(resized(pixel_values.flip(3), hw)), 1)).flip(3)
                own = self.units((1 - share) * own + share * mirror)
            total = total + self.units(resized(own, (height // self.patch, width // self.patch)))
        return self.units(total)

    def units(self, maps):
        """L2-normalise every block over its channels."""
        batch, _, rows, cols = maps.shape
        parts = maps.reshape(batch, len(self.config.features["blocks"]), -1, rows, cols)
        return F.normalize(parts, dim=2).reshape(maps.shape)

    def block_maps(self, pixel_values):
        """Return the map of every chosen block."""
        blocks = self.config.features["blocks"]
        hidden, (rows, cols) = self.embed(pixel_values)
        extra = {} if self.config.encoder["table"] else {"position_embeddings": self.rotary(rows, cols, hidden)}
        maps = {}
        for number, block in enumerate(self.part("blocks")[: max(blocks)], 1):
            hidden = block(hidden, attention_mask=None, **extra)
            if number in blocks:
                tokens = self.part("final_norm")(hidden) if self.config.features["norm"] else hidden
                tokens = tokens[:, tokens.shape[1] - rows * cols :]
                maps[number] = tokens.transpose(1, 2).reshape(len(tokens), -1, rows, cols)
        return [maps[number] for number in blocks]

    def embed(self, pixel_values):
        """Patch tokens with positions behind the prefix tokens, and the token grid."""
        conv, stride = self.part("patch_conv"), self.stride
        height, width = pixel_values.shape[2:]
        tokens = F.conv2d(pixel_values.to(conv.weight.dtype), conv.weight, conv.bias, stride=stride)
        rows, cols = tokens.shape[2:]
        tokens = tokens.flatten(2).transpose(1, 2)
        batch, _, dim = tokens.shape
        prefix = [attrgetter(path)(self.encoder).reshape(1, 1, dim) for path in self.config.encoder["prefix"]]
        if self.config.encoder["table"]:
            table = self.part("table").reshape(-1, dim)
            own, table = table[: len(prefix)], table[len(prefix) :]
            prefix = [token + own[i] for i, token in enumerate(prefix)]
            tokens = tokens + self.positions(table, rows, cols, height == width)
        if self.config.encoder["registers"]:
            prefix.append(self.part("registers"))
        hidden = torch.cat([*(token.expand(batch, -1, -1) for token in prefix), tokens], 1)
        return (self.part("first_norm")(hidden) if self.config.encoder["first_norm"] else hidden), (rows, cols)

    def positions(self, table, rows, cols, square):
        """Resample the square position table: by output size ("hf") or by the scale (n + 0.1) / side ("dinov2")."""
        if square and rows * cols == len(table):
            return table
        side, antialias = math.isqrt(len(table)), self.config.encoder["antialias"]
        grid = table.reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
        by_size = self.config.features["position"] == "hf" or (antialias and self.stride == self.patch)
        if by_size:
            how = {"size": (rows, cols), "antialias": antialias, "align_corners": False}
        else:
            how = {"scale_factor": ((rows + 0.1) / side, (cols + 0.1) / side), "recompute_scale_factor": False}
        return F.interpolate(grid, mode="bicubic", **how)[0].flatten(1).T.to(table.dtype)

    def rotary(self, rows, cols, like):
        """Cosine and sine of DINOv3's rotary positions: token centres from -1 to 1 over the covered pixels."""
        config = self.encoder.config
        axes = []
        for count in (rows, cols):
            centres = self.patch / 2 + self.stride * torch.arange(count, device=like.device, dtype=torch.float32)
            axes.append(2 * centres / (self.patch + self.stride * (count - 1)) - 1)
        coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        head_dim = config.hidden_size // config.num_attention_heads
        exponent = torch.arange(0, 1, 4 / head_dim, device=like.device, dtype=torch.float32)
        angles = (2 * math.pi * coordinates[:, :, None] / config.rope_theta**exponent).flatten(1).tile(2)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)
