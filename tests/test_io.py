"""Files are whole or absent, and a broken one is named."""

import errno
import json

import numpy as np
import pytest
from PIL import Image

from equiview import io
from equiview.errors import EquiviewError
from equiview.io import file_name, write_json


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    io.write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), io.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert io.read_json(path) == {"old": 1}
    assert files(tmp_path) == ["a.json"]


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), io.atomic_path(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "Choose another"),
        (errno.EIO, "could not be written"),
    ],
)
def test_a_write_that_fails_is_one_message(tmp_path, monkeypatch, number, said):
    def fail(self, *args, **kwargs):
        raise OSError(number, "strange")

    path = tmp_path / "folder" / "a.json"
    monkeypatch.setattr("pathlib.Path.write_text", fail)
    with pytest.raises(EquiviewError, match=said) as caught:
        io.write_json(path, {})
    assert str(path) in str(caught.value)
    assert files(path.parent) == []
    monkeypatch.setattr("pathlib.Path.open", fail)
    with pytest.raises(EquiviewError, match=said):
        io.append_jsonl(tmp_path / "rows.jsonl", {"a": 1})


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EquiviewError, match=str(tmp_path / "file")):
        io.write_json(tmp_path / "file" / "a.json", {})


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        io.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert files(tmp_path) == []


def test_files_are_readable_for_others_as_the_umask_says(tmp_path):
    io.write_json(tmp_path / "a.json", {})
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_rows_come_back_and_an_unfinished_last_line_is_dropped(tmp_path):
    path = tmp_path / "deep" / "rows.jsonl"
    assert io.read_jsonl(path) == []
    rows = [{"n": n, "words": "a\nb"} for n in range(3)]
    for row in rows:
        io.append_jsonl(path, row)
    assert io.read_jsonl(path) == rows
    text = path.read_text()
    for cut in range(len(text) - len(json.dumps(rows[-1])), len(text)):
        path.write_text(text[:cut])
        assert io.read_jsonl(path) == rows[:2], cut


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(EquiviewError, match="rows.jsonl:2"):
        io.read_jsonl(path)


@pytest.mark.parametrize("content", ["{", "", "\udcff"])
def test_broken_json_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EquiviewError, match="a.json"):
        io.read_json(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(EquiviewError, match="nothing there"):
        io.require_file(tmp_path / "none", "a mesh")
    with pytest.raises(EquiviewError, match="a folder"):
        io.require_file(tmp_path, "a mesh")


def test_images_round_trip_and_broken_ones_are_named(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    io.write_image(tmp_path / "a.png", rgb)
    assert np.array_equal(io.read_image(tmp_path / "a.png"), rgb)
    data = (tmp_path / "a.png").read_bytes()
    for name, content in (("cut.png", data[: len(data) // 2]), ("text.png", b"no picture"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EquiviewError, match=name):
            io.read_image(tmp_path / name)


def test_sixteen_bit_grey_is_not_white(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey.png")
    assert np.array_equal(io.read_image(tmp_path / "grey.png"), np.stack([grey] * 3, -1))


HOSTILE = (
    *("../../x", "/abs/x", "..", ".", "", "a/b", "a\\b", "a\nb", "a\0b", "a\x1b[31mb", "con", "NUL.txt", "x" * 500),
    *(
        "\u00e9" * 300,
        "a.",
        " a",
        "a ",
        "C:x",
        "\udcff",
        "a*b?",
        "..\\x",
        "~0123456789abcdef",
        "a~0123456789abcdef",
        ".a",
    ),
)


def test_any_name_from_outside_is_one_file_in_its_folder(tmp_path):
    for name in HOSTILE:
        path = tmp_path / "in" / f"{file_name(name)}.jsonl"
        write_json(path, name)
        assert path.parent.resolve() == path.resolve().parent == tmp_path / "in", name
        assert file_name(name).isprintable() and file_name(file_name(name)) != name
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


def test_two_names_never_become_one_file():
    names = {*HOSTILE, "x", "a", "b", "a_b", *(file_name(name) for name in HOSTILE)}
    assert len({file_name(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "name", ["mug", "fox@0__2", "builtin-mug", "cam (1)", "tasse \u00e0 caf\u00e9", "a.b", "x" * 160, "console"]
)
def test_names_that_were_fine_keep_their_file_names(name):
    assert file_name(name) == name
