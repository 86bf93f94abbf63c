"""BADJA, folders of frames and video files."""

import importlib.util
import json
import struct
import sys

import numpy as np
import pytest

from equiview.data.clips.badja import open_badja
from equiview.data.clips.frames import open_frames
from equiview.data.clips.loaders import open_clip_set
from equiview.data.clips.video import open_video
from equiview.errors import EquiviewError
from equiview.io import write_image, write_json
from equiview.tasks.tracking import TrackingConfig, queries_of

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs PyAV (extra video)")


def badja(root, frames=4, hw=(54, 96)):
    """Two joints, annotated in frames 0 and 3 (written in reverse), in 1920x1080; frames are 20 times smaller."""
    entry = {"joints": [[100, 400], [0, 0]], "visibility": [True, False], "image_path": "x/goat/00000.jpg"}
    last = {"joints": [[120, 440], [200, 600]], "visibility": [True, True], "image_path": "x/goat/00003.jpg"}
    write_json(root / "joint_annotations" / "goat.json", [last, entry])
    write_json(root / "joint_annotations" / "not_there.json", [entry])
    for number in range(frames):
        picture = np.full((*hw, 3), 10 * number, np.uint8)
        write_image(root / "goat" / "video" / f"{number:05d}.png", picture)
    return root


def test_badja_joints_are_row_column_in_full_resolution(tmp_path):
    (clip,) = open_badja(badja(tmp_path))
    assert clip.name == "goat" and clip.hw == (54, 96) and len(clip.frames) == 4
    np.testing.assert_array_equal(clip.known[0], [True, False, False, True])
    np.testing.assert_allclose(clip.xy[0, [0, 3]], [[20, 5], [22, 6]])
    np.testing.assert_allclose(clip.xy[1, 3], [30, 10])
    assert np.isnan(clip.xy[1, 0]).all() and not clip.visible[1, 0]
    assert clip.frames[3][0, 0, 0] == 30
    points, queries = queries_of(clip, TrackingConfig("first_annotated"))
    assert points.tolist() == [0] and queries.frame.tolist() == [0]


@pytest.mark.shared
def test_the_real_video_has_147_joints_to_find(shared):
    clip = next(one for one in open_badja(shared / "data" / "tracking") if one.name == "horsejump-high")
    points, queries = queries_of(clip, TrackingConfig("first_annotated"))
    assert clip.hw == (480, 854) and len(clip.frames) == 50
    assert (clip.visible & clip.known)[points, 1:].sum() == 147
    assert len(queries) == 19


def test_bad_badja(tmp_path):
    with pytest.raises(EquiviewError, match="annotations"):
        open_badja(tmp_path)
    root = badja(tmp_path / "a")
    (root / "goat" / "video" / "00003.png").unlink()
    with pytest.raises(EquiviewError, match="frame 00003"):
        open_badja(root)
    with pytest.raises(EquiviewError, match="shape of 1920x1080"):
        open_badja(badja(tmp_path / "b", hw=(96, 96)))
    with pytest.raises(EquiviewError, match="inside 96x54 pixels"):
        open_badja(badja(tmp_path / "c"), annotated_hw=(54, 96))
    path = badja(tmp_path / "d") / "joint_annotations" / "goat.json"
    for broken in ([{"joints": []}], [json.loads(path.read_text())[0] | {"visibility": [True]}], {}):
        write_json(path, broken)
        with pytest.raises(EquiviewError):
            open_badja(tmp_path / "d")


def test_a_folder_of_frames_is_in_the_order_of_its_numbers(tmp_path):
    for number in (0, 2, 10, 9):
        write_image(tmp_path / f"frame{number}.png", np.full((4, 6, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a frame")
    clip = open_frames(tmp_path)
    assert clip.hw == (4, 6) and clip.xy.shape == (0, 4, 2)
    assert [int(frame[0, 0, 0]) for frame in clip.frames] == [0, 2, 9, 10]


def test_bad_folders(tmp_path):
    with pytest.raises(EquiviewError, match="nothing there"):
        open_frames(tmp_path / "missing")
    with pytest.raises(EquiviewError, match="pictures"):
        open_frames(tmp_path)
    write_image(tmp_path / "0.png", np.zeros((4, 6, 3), np.uint8))
    write_image(tmp_path / "1.png", np.zeros((4, 7, 3), np.uint8))
    (tmp_path / "2.png").write_text("broken")
    frames = open_frames(tmp_path).frames
    with pytest.raises(EquiviewError, match="6x4 pixels as the other frames, found 7x4"):
        frames[1]
    with pytest.raises(EquiviewError, match="an image that opens"):
        frames[2]
    (tmp_path / "0.png").write_text("broken")
    with pytest.raises(EquiviewError, match="an image that opens"):
        open_frames(tmp_path)


def write_video(path, levels, hw=(48, 64)):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = hw[0], hw[1], "yuv420p"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((*hw, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@needs_av
def test_a_video_is_read_in_any_order(tmp_path):
    levels = [20, 80, 140, 200]
    clip = open_video(write_video(tmp_path / "clip.mp4", levels))
    assert clip.name == "clip" and clip.hw == (48, 64) and len(clip.frames) == 4
    for index in (0, 1, 3, 2, 0, -1):
        assert float(clip.frames[index].mean()) == pytest.approx(levels[index], abs=6)
    with pytest.raises(IndexError):
        clip.frames[4]


@needs_av
def test_files_that_are_no_videos(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(EquiviewError, match="can be decoded"):
        open_video(tmp_path / "text.mp4")
    with pytest.raises(EquiviewError, match="a video file, found nothing there"):
        open_video(tmp_path / "missing.mp4")


@needs_av
def test_a_sound_file_has_no_frames(tmp_path):
    import wave

    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    with pytest.raises(EquiviewError, match="at least one frame"):
        open_video(tmp_path / "sound.wav")


def test_without_pyav_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(EquiviewError, match=r"equiview\[video\]"):
        open_video(tmp_path / "clip.mp4")


def extra_badja(root, name, hw, joints, folder="extra_videos"):
    """Write one of BADJA's own videos: joints are pixels of its own frames."""
    (root / "joint_annotations").mkdir(parents=True, exist_ok=True)
    entry = {"image_path": f"{folder}/{name}/00000.png", "joints": joints, "visibility": [1] * len(joints)}
    write_json(root / "joint_annotations" / f"{name}.json", [entry])
    write_image(root / name / "video" / "00000.png", np.zeros((*hw, 3), np.uint8))
    return root


@pytest.mark.parametrize("folder", ["extra_videos", "data\\extra_videos"])
def test_joints_of_badjas_own_videos_are_pixels_of_their_frames(tmp_path, folder):
    (clip,) = open_badja(extra_badja(tmp_path, "rs_dog", (72, 128), [[34, 78]], folder))
    assert clip.xy.tolist() == [[[78, 34]]] and clip.known.all()


def test_the_annotated_size_can_be_said(tmp_path):
    root = badja(tmp_path)
    name, (clip,) = open_clip_set(f"badja:{root}@annotated=960x540", "--benchmark")
    assert name == "badja"
    np.testing.assert_allclose(clip.xy[0, [0, 3]], [[40, 10], [44, 12]])
    (as_published,) = open_clip_set(f"badja:{root}", "--benchmark")[1]
    np.testing.assert_allclose(as_published.xy[0, 0], [20, 5])
    own = extra_badja(tmp_path / "own", "rs_dog", (72, 128), [[34, 78]])
    (clip,) = open_clip_set(f"badja:{own}@annotated=256x144", "--benchmark")[1]
    assert clip.xy.tolist() == [[[39, 17]]]


@pytest.mark.parametrize("size", ["", "960", "0x540", "960x-540", "960X540", "960x540x3", "9999999x1"])
def test_another_annotated_size_is_refused(tmp_path, size):
    with pytest.raises(EquiviewError, match="@annotated=WIDTHxHEIGHT in pixels"):
        open_clip_set(f"badja:{badja(tmp_path)}@annotated={size}", "--benchmark")


def test_joints_outside_the_picture_count_as_unknown_and_the_other_videos_open(tmp_path, caplog):
    root = extra_badja(badja(tmp_path), "impala0", (54, 96), [[-17, 40], [20, 30], [50, 90]])
    extra_badja(root, "broken", (54, 96), [[1, 2]])
    (root / "joint_annotations" / "broken.json").write_text("[" * 99999)
    (root / "joint_annotations" / "._goat.json").write_bytes(b"\0\5\x16\7")
    goat, impala = open_badja(root)
    assert (goat.name, impala.name) == ("goat", "impala0")
    assert impala.known[:, 0].tolist() == impala.visible[:, 0].tolist() == [False, True, True]
    assert np.isnan(impala.xy[0]).all() and impala.xy[1, 0].tolist() == [30, 20]
    assert "1 joints lie outside the picture" in caplog.text and "1 of 3 clips cannot be used" in caplog.text


BAD_BADJA = {
    "a number": "3",
    "an empty list": "[]",
    "numbers": "[1, 2]",
    "a key short": '[{"image_path": "0.png", "joints": []}]',
    "joints of words": '[{"image_path": "0.png", "joints": [["a", "b"]], "visibility": [1]}]',
    "joints of three": '[{"image_path": "0.png", "joints": [[1, 2, 3]], "visibility": [1]}]',
    "NaN joints": '[{"image_path": "0.png", "joints": [[NaN, 2]], "visibility": [1]}]',
    "large joints": '[{"image_path": "0.png", "joints": [[1e999, 2]], "visibility": [1]}]',
    "long joints": '[{"image_path": "0.png", "joints": [[' + "9" * 400 + ', 2]], "visibility": [1]}]',
    "a number as path": '[{"image_path": 3, "joints": [[1, 2]], "visibility": [1]}]',
    "nested too deep": "[" * 99999,
    "a number of 5000 digits": "9" * 5000,
}


@pytest.mark.parametrize("text", BAD_BADJA.values(), ids=BAD_BADJA)
def test_broken_annotations_are_one_message(tmp_path, text):
    root = extra_badja(tmp_path, "rs_dog", (72, 128), [[34, 78]])
    (root / "joint_annotations" / "rs_dog.json").write_text(text)
    with pytest.raises(EquiviewError, match="rs_dog.*expected") as caught:
        open_badja(root)
    assert len(str(caught.value)) < 400


def turned(path, degrees):
    """Write into an MP4's track header how players turn it, clockwise."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # Version 0: 40 bytes come before the matrix.
    data[at : at + 36] = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_videos_come_as_players_show_them(tmp_path, degrees):
    av = pytest.importorskip("av")
    path = tmp_path / "phone.mp4"
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:16, :16] = 255  # The corner that tells where the picture was turned to.
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    turned(path, degrees)
    clip = open_video(path)
    expected = np.rot90(picture, -degrees // 90)
    assert clip.hw == expected.shape[:2] and len(clip.frames) == 3
    for frame in clip.frames:
        assert frame.shape == expected.shape and np.abs(frame.astype(int) - expected).mean() < 12
