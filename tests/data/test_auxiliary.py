"""Folders of objects to learn from: which meshes they stand for, and what these are called."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from equiview.cli.improve import Auxiliary
from equiview.data.auxiliary import MOST, auxiliary_sources
from equiview.data.names import distinct_names
from equiview.errors import EquiviewError
from equiview.io import write_image


@pytest.fixture
def scans(tmp_path):
    """Two objects as YCB lies, one as Objaverse does, and what archives leave behind."""
    for name in ("can/google_16k/textured.obj", "soup/google_16k/textured.obj", "000-001/ab12.glb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a mesh")
    (tmp_path / "000-001" / "._ab12.glb").write_text("not one")
    (tmp_path / "readme.txt").write_text("words")
    return tmp_path


def names(sources):
    return [Path(one).name for one in sources]


def test_a_folder_stands_for_the_meshes_below_it(scans):
    assert names(auxiliary_sources([str(scans)])) == ["ab12.glb", "textured.obj", "textured.obj"]
    mixed = auxiliary_sources(["household:1", str(scans / "can"), str(scans), "household:1"])
    assert (mixed[0], len(mixed)) == ("household:1", 4)


def test_of_a_large_folder_the_same_few_are_drawn(scans, caplog):
    caplog.set_level("INFO")
    first = auxiliary_sources([str(scans)], most=2)
    assert f"{MOST} of each" in Auxiliary.__metadata__[0].help
    assert len(first) == 2 and first == auxiliary_sources([str(scans)], most=2) and "2 of 3 meshes" in caplog.text


def test_what_is_trained_or_tested_on_is_left_out(scans, caplog):
    caplog.set_level("INFO")
    tested = f"{scans / 'can' / 'google_16k' / 'textured.obj'}@up=y"
    assert names(auxiliary_sources([str(scans)], [tested, "builtin:mug"])) == ["ab12.glb", "textured.obj"]
    assert "left out 1 that this run trains or tests on" in caplog.text
    with pytest.raises(EquiviewError, match="only 1 that are trained or tested on"):
        auxiliary_sources([str(scans / "can")], [tested])


def test_views_captures_and_photos_are_taken_as_they_are(scans):
    (scans / "meta.json").write_text("{}")
    assert auxiliary_sources([str(scans)]) == (str(scans),)
    shutil.rmtree(scans)
    scans.mkdir()
    with pytest.raises(EquiviewError, match="expected meshes .* found none of them"):
        auxiliary_sources([str(scans)])
    write_image(scans / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert auxiliary_sources([str(scans)]) == (str(scans),)


def test_files_of_one_name_are_told_apart_by_their_folders(scans):
    sources = [*auxiliary_sources([str(scans)]), "household:7"]
    found = distinct_names(sources)
    assert found[0] == "ab12" and found[3] == "household-7" and len(set(found)) == 4
    assert found[1].endswith("can-google_16k-textured") and found[2].endswith("soup-google_16k-textured")
