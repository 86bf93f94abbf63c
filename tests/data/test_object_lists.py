"""Lists and folders of many objects become sources, one by one."""

import pytest

from equiview.data.object_lists import expand
from equiview.errors import EquiviewError


@pytest.fixture
def objaverse(tmp_path):
    """Two folders of two files in the layout of Objaverse; that they are no meshes does not matter here."""
    for name in ("000-001/aa", "000-001/bb", "000-002/cc", "000-002/dd"):
        path = tmp_path / "objaverse" / "glbs" / f"{name}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"glTF")
    (path.parent / ".hidden.glb").touch()
    return tmp_path / "objaverse"


def names(sources):
    return [source.rpartition("/")[2] for source in sources]


@pytest.mark.parametrize("below", [".", "glbs", "glbs/000-002"])
def test_a_folder_stands_for_its_meshes(objaverse, below):
    found = expand([str(objaverse / below), "builtin:mug"])
    wanted = ["cc.glb", "dd.glb"] if "002" in below else ["aa.glb", "bb.glb", "cc.glb", "dd.glb"]
    assert names(found.sources) == [*wanted, "builtin:mug"]
    assert found.listed == set(found.sources[:-1])


def test_a_list_names_paths_and_ids_in_its_order(objaverse):
    """As the paper's list of 10,000 does, with the folder before the id; by the id alone; paths; made objects."""
    path = objaverse / "some.txt"
    path.write_text("# a remark\n000-002/dd\n\n aa \nglbs/000-001/bb.glb@up=z\nhousehold:3\ngone\n")
    found = expand([str(path)])
    assert names(found.sources) == ["dd.glb", "aa.glb", "bb.glb@up=z", "household:3", "gone.glb"]
    assert found.listed == set(found.sources)


def test_other_sources_stay_as_they_are(tmp_path):
    (tmp_path / "empty").mkdir()
    given = ["mug.glb", str(tmp_path / "empty"), str(tmp_path / "none.txt"), "procedural:1"]
    assert expand(given).sources == tuple(given) and not expand(given).listed


def test_an_empty_list_is_refused(tmp_path):
    (tmp_path / "list.txt").write_text("# nothing\n")
    with pytest.raises(EquiviewError, match=r"list.txt: expected a line for each object, found none"):
        expand([str(tmp_path / "list.txt")])
