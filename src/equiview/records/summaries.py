"""Summaries (`summary.json`) and comparisons of runs."""

from typing import Any, NotRequired, TypedDict, final

from .protocols import FeaturesRecord, ProtocolRecord, Settings
from .scores import Differences, Metrics


class Summary(TypedDict):
    """The summary of a run of one set of features.

    Keys:
        metrics: Scores by name.
        protocol: How they were measured.
    """

    metrics: Metrics
    protocol: ProtocolRecord


class TransferSummary(Summary):
    """Keys: failed: Pairs that were not scored, by reason; without_self_pairs: metrics without pairs of one image."""

    failed: dict[str, int]
    without_self_pairs: NotRequired[Metrics]


class TrackingSummary(Summary):
    """Keys: failed: Names of the clips that were not scored."""

    failed: list[str]


class PoseSummary(Summary):
    """Keys: by_object: Every recall of each object, with its number of queries as "n"."""

    by_object: dict[str, dict[str, float]]


class EpipolarSummary(Summary):
    """Keys: failed: Pairs that were not scored, by reason."""

    failed: dict[str, int]


class RecallSummary(Summary):
    """Keys: failed: Pairs that were not scored, by reason."""

    failed: dict[str, int]


class ImproveSummary(TypedDict):
    """The summary of a run of `improve`.

    Keys:
        before: The pretrained features.
        after: The adapted features.
        controls: Every variant that is not adapted, by name.
        difference: After minus before, and minus the best control, by metric.
        protocol: How all of it was measured.
    """

    before: Summary
    after: Summary
    controls: dict[str, Summary]
    difference: Differences
    protocol: ProtocolRecord


class DataSetResult(TypedDict):
    """One data set of a bench.

    Keys:
        metrics: Scores by name.
        failed: Samples that were not scored, by reason.
        protocol: How it was measured.
    """

    metrics: Metrics
    failed: dict[str, int]
    protocol: ProtocolRecord


class MissingSet(TypedDict):
    """A real data set that was not measured.

    Keys:
        dataset: Its name.
        task: Its task.
        problem: What is wrong.
        where: Where to get it.
        layout: How it must lie.
    """

    dataset: str
    task: str
    problem: str
    where: str
    layout: str


class BenchProtocol(TypedDict):
    """Keys: bench: Settings; features: what was measured; versions, device; datasets: by task and data set."""

    bench: Settings
    features: FeaturesRecord
    versions: dict[str, str]
    device: str
    datasets: dict[str, dict[str, ProtocolRecord]]


class PublishedScores(TypedDict):
    """What the authors of a protocol report.

    Keys:
        protocol: Its name.
        backbone: What they call the backbone; None where they did not measure it as it is here.
        source: Where the numbers are from.
        scores: By task, data set and metric.
    """

    protocol: str
    backbone: str | None
    source: str
    scores: dict[str, dict[str, dict[str, float]]]


class BenchSummary(TypedDict):
    """The summary of a bench.

    Keys:
        tasks: Metrics by task and data set.
        failed: Samples that were not scored, by task, data set and reason.
        protocol: How it was measured.
        missing: Real data sets that were not measured.
        published: What the authors of its protocol report, where a bench follows a published one.
    """

    tasks: dict[str, dict[str, Metrics]]
    failed: dict[str, dict[str, dict[str, int]]]
    protocol: BenchProtocol
    missing: list[MissingSet]
    published: NotRequired[PublishedScores]


class ComparedRun(TypedDict):
    """Keys: folder: Of a run; backbone: its id; adapter: what names its adapter, or None."""

    folder: str
    backbone: str | None
    adapter: Any


@final
class Comparison(TypedDict):
    """Two runs compared row by row.

    Keys:
        runs: First and second run.
        kind: Which command wrote them.
        variant: Which features of runs of `improve`.
        unit: The sampling unit: the key of the rows that intervals are over.
        n_rows: Rows that both have.
        only_in: Rows that only the first, or only the second run has.
        protocol_differs: Fields of the protocols that differ.
        metrics: Second minus first, by name.
    """

    runs: list[ComparedRun]
    kind: str
    variant: str | None
    unit: str
    n_rows: int
    only_in: list[int]
    protocol_differs: list[str]
    metrics: Differences


@final
class BenchComparison(TypedDict):
    """Two benches compared.

    Keys:
        runs: First and second bench.
        kind: "bench".
        only_in: TASK/DATASET that only the first, or only the second bench has.
        tasks: The comparison of each data set that both have, by task and data set.
    """

    runs: list[ComparedRun]
    kind: str
    only_in: list[list[str]]
    tasks: dict[str, dict[str, Comparison]]
