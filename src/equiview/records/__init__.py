"""The records equiview writes and reads again, key by key: scores, rows, summaries and protocols.

A record is a plain dict of what JSON can hold. A key that only some records have is `NotRequired`. Scores are percent
(0 to 100) unless a key says otherwise; distances are pixels of the target image.
"""

from .files import (
    CaptureRecord,
    FeatureIndex,
    LocatedPicture,
    MatchedPoints,
    MatchRecord,
    PictureEntry,
    TrackRecord,
    TracksRecord,
    TransferredPoints,
)
from .protocols import FeaturesRecord, ProtocolRecord, RunRecord, Settings
from .retention import RetentionProtocol, RetentionReading, RetentionResult, StrengthEntry
from .rows import EpipolarRow, PairRow, PoseAttempt, PoseErrors, PoseRow, RecallRow, TrackingRow, TransferRow
from .scores import Difference, Differences, Metric, Metrics, PairScores, Score
from .study import BetweenFamilies, LeftOut, Relation, Statistic, StudyRecord, WithinFamilies
from .summaries import (
    BenchComparison,
    BenchProtocol,
    BenchSummary,
    ComparedRun,
    Comparison,
    DataSetResult,
    EpipolarSummary,
    ImproveSummary,
    MissingSet,
    PoseSummary,
    PublishedScores,
    RecallSummary,
    Summary,
    TrackingSummary,
    TransferSummary,
)

__all__ = [
    "BenchComparison",
    "BenchProtocol",
    "BenchSummary",
    "BetweenFamilies",
    "CaptureRecord",
    "ComparedRun",
    "Comparison",
    "DataSetResult",
    "Difference",
    "Differences",
    "EpipolarRow",
    "EpipolarSummary",
    "FeatureIndex",
    "FeaturesRecord",
    "ImproveSummary",
    "LeftOut",
    "LocatedPicture",
    "MatchRecord",
    "MatchedPoints",
    "Metric",
    "Metrics",
    "MissingSet",
    "PairRow",
    "PairScores",
    "PictureEntry",
    "PoseAttempt",
    "PoseErrors",
    "PoseRow",
    "PoseSummary",
    "ProtocolRecord",
    "PublishedScores",
    "RecallRow",
    "RecallSummary",
    "Relation",
    "RetentionProtocol",
    "RetentionReading",
    "RetentionResult",
    "RunRecord",
    "Score",
    "Settings",
    "Statistic",
    "StrengthEntry",
    "StudyRecord",
    "Summary",
    "TrackRecord",
    "TrackingRow",
    "TrackingSummary",
    "TracksRecord",
    "TransferRow",
    "TransferSummary",
    "TransferredPoints",
    "WithinFamilies",
]
