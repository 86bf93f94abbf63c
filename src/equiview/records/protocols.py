"""What must be known to repeat a measurement."""

from collections.abc import Mapping
from typing import Any, TypedDict

# The fields of a settings dataclass by name (`dataclasses.asdict`): the dataclass says which they are.
Settings = dict[str, Any]


class FeaturesRecord(TypedDict, total=False):
    """What names a set of features (`MapSource.describe`).

    Keys:
        backbone: Its id.
        weights_sha256: Of its weights.
        family: Kind of backbone.
        patch: Patch size, px of the network's input.
        blocks: Blocks whose tokens are concatenated, counted from 1.
        norm: The backbone's last norm is applied.
        long_side: Images are resized so that their longer side has so many px.
        stride: Distance of tokens, px of the network's input.
        position: How position embeddings are resized.
        mean, std: Of the input's normalisation.
        sizes: Shares of `long_side` at which an image is read and averaged, where there are several.
        mirrored: Share (0-0.5) of the mirrored image in that average.
        head: Records of the head's parts.
        dtype: Type of the weights.
        adapter: {"sha256", "lora", "strength"} of the adapter; "repo" and "revision" (the commit) of one from the hub.
        export_sha256: Of an exported model.
        strength: Of the adapter, in a study of several strengths.
        radius, dim, seed: Of the oracle and of noise.
    """

    backbone: str
    weights_sha256: str
    family: str
    patch: int
    blocks: list[int]
    norm: bool
    long_side: int
    stride: float
    position: str
    mean: list[float]
    std: list[float]
    sizes: list[float]
    mirrored: float
    head: list[Settings]
    dtype: str
    adapter: Settings
    export_sha256: str
    strength: float
    radius: float
    dim: int
    seed: int


class RunRecord(TypedDict, total=False):
    """What a command adds to the protocol of its measurement.

    Keys:
        run: What was asked for (`run.json`).
        adapter: Record of the adapter.
        versions: Of equiview and the libraries, by name.
        device: Where it ran.
        notes: Remarks a reader must see before the numbers.
        ambiguous_share: Share (0-1) of each object's surface that is ambiguous.
        pairs: Name of the data set of pairs.
        clips: Names of the clips.
        broken: Names of the objects that could not be opened and are left out, see broken/NAME.json.
        shard: Which part of the run these are the numbers of, such as 3/10; absent of the whole run.
    """

    run: Settings
    adapter: Mapping[str, Any]
    versions: dict[str, str]
    device: str
    notes: list[str]
    ambiguous_share: dict[str, float | None]
    pairs: str
    clips: list[str]
    broken: list[str]
    shard: str


class ProtocolRecord(RunRecord, total=False):
    """What must be known to repeat a measurement. Which keys there are depends on the command.

    Keys:
        features: What was measured.
        measure, transfer, tracking, pose, epipolar, recall: Settings of the task.
        scoring: Threshold and average of semantic transfer.
        units, averages, ci95, ci95_views, chance: What the numbers mean, in words.
    """

    features: FeaturesRecord
    measure: Settings
    transfer: Settings
    tracking: Settings
    pose: Settings
    epipolar: Settings
    recall: Settings
    scoring: Settings | None
    units: str
    averages: str
    ci95: str
    ci95_views: str
    chance: str
