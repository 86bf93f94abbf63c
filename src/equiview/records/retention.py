"""The record of a retention report (`retention.json`)."""

from collections.abc import Mapping
from typing import Any, TypedDict

from .protocols import FeaturesRecord, Settings
from .scores import Differences, Metrics


class StrengthEntry(TypedDict):
    """A retention report at one strength.

    Keys:
        strength: Of the adapter (0-1).
        drift, equivariance, transfer, tracking: Metrics of each part.
        difference: This strength minus strength 0, by task and metric.
        failed: Samples that were not scored, by task and reason.
    """

    strength: float
    drift: Metrics
    equivariance: Metrics
    transfer: Metrics
    tracking: Metrics
    difference: dict[str, Differences]
    failed: dict[str, dict[str, int]]


class RetentionReading(TypedDict):
    """What a retention report says.

    Keys:
        recommended: The recommended strength; None where there is none.
        tolerance: Points of PCK@0.10 that may be lost.
        allowed: The same in words.
        verdicts: One for each strength above 0, by the strength as text.
        lead: The sentences on top of the page.
    """

    recommended: float | None
    tolerance: float
    allowed: str
    verdicts: Mapping[str, str]
    lead: list[str]


class RetentionProtocol(TypedDict):
    """How a retention report was measured.

    Keys:
        features: What was measured.
        retention: Settings.
        data: Names of photos, objects, pairs and clips.
        ci95: What the intervals are, in words.
        versions: Of equiview and the libraries, by name.
        trained_on: Test objects that the adapter was trained on.
        tasks: The protocol of each task, without the features.
        device: Where it ran.
        saved_strength: The strength the adapter was saved at; None where its parts have different ones.
    """

    features: FeaturesRecord
    retention: Settings
    data: dict[str, Any]
    ci95: str
    versions: dict[str, str]
    trained_on: list[str]
    tasks: Mapping[str, Any]
    device: str
    saved_strength: float | None


class RetentionResult(TypedDict):
    """Keys: protocol: How it was measured; strengths: strength 0 first; reading: what it says."""

    protocol: RetentionProtocol
    strengths: list[StrengthEntry]
    reading: RetentionReading
