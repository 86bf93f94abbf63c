"""What an adapter was trained on is known by content, under whatever name and after its files are gone."""

import json
import shutil

import numpy as np
import pytest
import trimesh

from bad_inputs import ball_ply
from equiview.data.contents import content_of, same_content, shown_before
from equiview.data.meshes import open_mesh
from equiview.errors import EquiviewError
from equiview.io import write_image
from equiview.jobs.retention.measurements import builtin_objects, trained_among
from equiview.render import RenderConfig, paper42, render_views


def stored(*sources):
    return json.loads(json.dumps({f"trained{number}": content_of(str(one)) for number, one in enumerate(sources)}))


def test_copies_exports_turns_and_views_are_known(small_paint, tmp_path):
    train, other = ball_ply(tmp_path / "ball.ply"), ball_ply(tmp_path / "other.ply", seed=5)
    contents = stored(train)
    shutil.copy(train, tmp_path / "copy.ply")
    trimesh.load(train, process=False).export(tmp_path / "exported.glb")
    render_views(open_mesh(train), paper42((32, 32))[:1], RenderConfig(hw=(32, 32)), tmp_path / "views")
    train.unlink()
    again = ["copy.ply", "copy.ply@up=y", "exported.glb", "views"]
    for name in again:
        assert len(shown_before([f"{tmp_path}/{name}"], set(), contents)) == 1, name
    assert shown_before([str(other), "builtin:mug", "procedural:1"], set(), contents) == []
    assert shown_before([str(other)], {"other"}, {}) == ["other"]


def test_photos_are_known_by_their_pictures(tmp_path):
    for folder, first in (("one", 0), ("two", 1), ("three", 5)):
        for number in range(2):
            picture = np.full((8, 8, 3), 20 * (first + number), np.uint8)
            write_image(tmp_path / folder / f"{folder}{number}.png", picture)
    one, two, three = (content_of(str(tmp_path / name)) for name in ("one", "two", "three"))
    assert same_content(one, two) and not same_content(one, three)
    assert not same_content(one, content_of("builtin:mug"))


def test_a_record_says_what_retention_leaves_out(small_paint):
    contents = stored("builtin:mug")
    assert trained_among({"data": {"objects": ["trained0"], "contents": contents}}, ["builtin:mug"]) == ["builtin-mug"]
    found = builtin_objects({"data": {"objects": ["trained0"], "contents": contents}})
    assert "builtin:mug" not in found and "builtin:camera" in found and len(found) == 7
    assert trained_among({"data": {"objects": ["trained0"]}}, ["builtin:mug"]) == []
    assert trained_among({}, ["builtin:mug"]) == []


@pytest.mark.parametrize("wrong", [3, {"shape": [1]}, {"shape": [1.0] * 6, "colour": "red"}, {"pictures": 3}])
def test_a_changed_record_is_one_message(wrong):
    with pytest.raises(EquiviewError, match="expected"):
        shown_before(["builtin:mug"], set(), {"a": wrong})
