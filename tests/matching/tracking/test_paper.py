"""The published tracker, against values it gave."""

import numpy as np
import pytest
import torch

from equiview.matching.tracking import PaperConfig, Queries, track_paper
from equiview.types import FeatureMap

CASES = (
    "stride7_T7",
    "stride7_T8_occluded_frames",
    "stride7_noisy_border_cases",
    "stride14_T6",
    "negative_similarity_frame",
)


@pytest.mark.shared
@pytest.mark.parametrize("case", CASES)
def test_parity(golden, case):
    stored = np.load(golden / "f05_tracker.npz")
    given = {k.split("/")[-1]: stored[k] for k in stored.files if k.startswith(f"{case}/in/")}
    expected = {k.split("/")[-1]: stored[k] for k in stored.files if k.startswith(f"{case}/out/")}
    stride = float(given["stride"])
    hw = tuple(int(side) for side in given["video_hw"])
    maps = [FeatureMap(torch.from_numpy(f), (stride, stride), (7.0, 7.0), hw) for f in given["features"]]
    queries = Queries(given["query_points_xyt"][:, :2].astype(float), given["query_points_xyt"][:, 2].astype(int))
    config = PaperConfig(35.0, float(given["anchor_threshold"]), float(given["cos_threshold"]))
    tracks = track_paper(maps, queries, config)
    np.testing.assert_allclose(tracks.xy, expected["trajectories_xy"], atol=1e-3)
    np.testing.assert_allclose(tracks.score, expected["cosine_to_query"], atol=1e-5)
    np.testing.assert_array_equal(~tracks.visible, expected["occluded"])
