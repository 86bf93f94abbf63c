"""OnePose's layout, from a tiny one the test writes."""

import numpy as np
import pytest
from PIL import Image

from equiview.data.captures.onepose import onepose_scenes
from equiview.errors import EquiviewError

NAME = "0700-toy-others"


def write(root, frames=(12, 25)):
    for number, count in zip((1, 2), frames, strict=True):
        folder = root / NAME / f"toy-{number}"
        for part in ("color", "intrin_ba", "poses_ba", "anno_loftr"):
            (folder / part).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (16, 12)).save(folder / "color" / f"{i}.png")
            pose = np.eye(4)
            pose[2, 3] = 1 + i
            np.savetxt(folder / "poses_ba" / f"{i}.txt", pose)
            np.savetxt(folder / "intrin_ba" / f"{i}.txt", [[20, 0, 8], [0, 20, 6], [0, 0, 1]])
    return root


def test_sequences(tmp_path):
    (scene,) = onepose_scenes(write(tmp_path))
    assert scene.name == NAME and scene.world_unit_cm == 100
    assert [r.camera.cam_from_world[2, 3] for r in scene.references] == list(range(1, 13))  # 2 comes before 10
    assert [q.name for q in scene.queries] == ["toy-2/0.png", "toy-2/10.png", "toy-2/20.png"]
    np.testing.assert_array_equal(scene.queries[0].camera.intrinsics, [[20, 0, 8.5], [0, 20, 6.5], [0, 0, 1]])
    assert scene.queries[0].camera.hw == (12, 16)


def test_bad_input(tmp_path):
    with pytest.raises(EquiviewError, match="expected objects as"):
        onepose_scenes(tmp_path)
    write(tmp_path)
    with pytest.raises(EquiviewError, match="found missing"):
        onepose_scenes(tmp_path, names=["missing"])
    (tmp_path / NAME / "toy-1" / "poses_ba" / "0.txt").write_text("1 2 three")
    with pytest.raises(EquiviewError, match="0.txt: expected 4x4 numbers"):
        onepose_scenes(tmp_path)
    (tmp_path / NAME / "toy-1" / "poses_ba" / "0.txt").write_text("1 2 3")
    with pytest.raises(EquiviewError, match="found 3 numbers"):
        onepose_scenes(tmp_path)
