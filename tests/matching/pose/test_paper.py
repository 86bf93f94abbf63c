"""The published matching and PnP, against the reference's own output."""

import sys

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.matching.nearest import mutual_nearest
from equiview.matching.pose import solve_pnp
from equiview.matching.pose.paper import grid_points, paper_pose
from equiview.metrics.pose import rotation_error_deg, translation_error


def inputs(stored, case):
    names = ("query_descriptors", "query_grid_xy", "template_descriptors", "template_points3d_m", "intrinsic")
    query, grid, template, points, intrinsics = (stored[f"{case}/in/{name}"] for name in names)
    return torch.from_numpy(query), grid, torch.from_numpy(template), points, intrinsics


@pytest.mark.shared
def test_parity(golden):
    pytest.importorskip("cv2")
    stored = np.load(golden / "f10_pose_matching_pnp.npz")
    for case in sorted({key.split("/")[0] for key in stored}):
        found = paper_pose(*inputs(stored, case))
        np.testing.assert_array_equal(found.query_index, stored[f"{case}/out/match_query_index"])
        np.testing.assert_array_equal(found.template_index, stored[f"{case}/out/match_template_index"])
        pose = np.eye(4) if found.cam_from_world is None else found.cam_from_world
        expected = stored[f"{case}/out/pose_pred"]
        assert (found.cam_from_world is None) == np.array_equal(expected, np.eye(4)), case
        if case == "failure_no_geometry":
            continue
        assert rotation_error_deg(pose, expected) < 0.05
        assert 100 * translation_error(pose, expected) < 0.05
        np.testing.assert_array_equal(found.inliers, stored[f"{case}/out/pnp_inliers"])


@pytest.mark.shared
@pytest.mark.parametrize("case", ["clean", "outliers30", "noisy_descriptors"])
def test_our_solver_on_the_same_matches(golden, case):
    stored = np.load(golden / "f10_pose_matching_pnp.npz")
    query, grid, template, points, intrinsics = inputs(stored, case)
    index_0, index_1, _ = (one.numpy() for one in mutual_nearest(query, template))
    found = solve_pnp(grid[index_0], points[index_1], intrinsics, threshold_px=8.0)
    true = stored[f"{case}/in/pose_gt"]
    assert rotation_error_deg(found.cam_from_world, true) < 2.5
    assert 100 * translation_error(found.cam_from_world, true) < 0.5


@pytest.mark.shared
def test_grid_is_the_references(golden):
    stored = np.load(golden / "f10_pose_matching_pnp.npz")
    grid = stored["clean/in/query_grid_xy"]
    hw = tuple(int(side) + 4 for side in grid.max(0)[::-1])
    np.testing.assert_array_equal(grid_points(hw), grid)


def test_without_opencv_there_is_one_message(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    unit = torch.eye(5)
    with pytest.raises(EquiviewError, match=r"equiview\[cv\]"):
        paper_pose(unit, np.zeros((5, 2)), unit, np.zeros((5, 3)), np.eye(3))
    few = paper_pose(unit[:3], np.zeros((3, 2)), unit[:3], np.zeros((3, 3)), np.eye(3))
    assert few.cam_from_world is None and len(few.query_index) == 3
