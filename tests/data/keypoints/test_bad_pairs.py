"""Files of key points that cannot be used: each gives one short message that names the file."""

import json

import numpy as np
import pytest

from equiview.data.keypoints.ap10k import load_ap10k
from equiview.data.keypoints.own_json import load_keypoint_json
from equiview.data.keypoints.pfpascal import COLUMNS, read_pairs
from equiview.data.keypoints.pfwillow import read_points
from equiview.data.keypoints.spair import load_spair
from equiview.errors import EquiviewError
from equiview.io import write_image

NAN, INF = float("nan"), float("inf")
LONG = 10**400


def refused(load, *arguments):
    with pytest.raises(EquiviewError, match="expected") as caught:
        load(*arguments)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
    return str(caught.value)


OWN = {
    "image0: a number": {"image0": 3},
    "image0: nothing": {"image0": None},
    "image1: a list": {"image1": []},
    "image1: NUL": {"image1": "a\0b"},
    "image1: missing": {"image1": "gone.png"},
    "image1: long": {"image1": "x" * 5000},
    "xy0: a number": {"xy0": 3},
    "xy0: text": {"xy0": "abc"},
    "xy0: an object": {"xy0": {}},
    "xy0: empty": {"xy0": []},
    "xy0: three numbers": {"xy0": [[1, 2, 3]]},
    "xy0: ragged": {"xy0": [[1, 2], [3]]},
    "xy0: words": {"xy0": [["a", "b"]]},
    "xy0: infinite": {"xy0": [[INF, 2]]},
    "xy0: a number of 400 digits": {"xy0": [[LONG, 2]]},
    "xy1: one more": {"xy1": [[1, 2], [3, 4]]},
    "box1_wh: NaN": {"box1_wh": [NAN, 2]},
    "box1_wh: infinite": {"box1_wh": [INF, 2]},
    "box1_wh: 0": {"box1_wh": [0, 2]},
    "box1_wh: truth values": {"box1_wh": [True, True]},
    "box1_wh: text": {"box1_wh": "wide"},
    "box1_wh: one side": {"box1_wh": [2]},
    "category: a list": {"category": ["mug"]},
    "name: a number": {"name": 3},
    "an unknown key": {"colour": "red"},
}


@pytest.mark.parametrize("change", OWN.values(), ids=OWN)
def test_ones_own_pairs(tmp_path, change):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    good = {"image0": "a.png", "image1": ".\\B.PNG", "xy0": [[1, 2]], "xy1": [[2, 1]]}
    path = tmp_path / "pairs.json"
    path.write_text("\ufeff" + json.dumps({"pairs": [good]}))
    assert load_keypoint_json(path)[0].image1 == tmp_path / "b.png"
    path.write_text(json.dumps({"pairs": [good | change]}))
    said = refused(load_keypoint_json, path)
    assert "pairs.json" in said or "image1" in change


@pytest.mark.parametrize("text", ["", "3", "[]", "null", '{"pairs": {}}', '{"pairs": [3]}', "[" * 99999, "9" * 5000])
def test_a_file_of_pairs_of_another_shape(tmp_path, text):
    (tmp_path / "pairs.json").write_text(text)
    assert "pairs.json" in refused(load_keypoint_json, tmp_path / "pairs.json")


SPAIR = {
    "category: a number": {"category": 3},
    "src_imname: a list": {"src_imname": []},
    "src_kps: text": {"src_kps": "abc"},
    "trg_kps: another length": {"trg_kps": [[1, 2], [3, 4]]},
    "trg_bndbox: nothing": {"trg_bndbox": None},
    "trg_bndbox: three": {"trg_bndbox": [1, 2, 3]},
    "trg_bndbox: words": {"trg_bndbox": ["a", "b", "c", "d"]},
}


@pytest.mark.parametrize("change", SPAIR.values(), ids=SPAIR)
def test_spair(tmp_path, change):
    record = {"src_imname": "a.png", "trg_imname": "b.png", "category": "cat", "trg_bndbox": [0, 0, 3, 3]}
    record |= {"src_kps": [[1, 1]], "trg_kps": [[2, 2]]}
    folder = tmp_path / "PairAnnotation" / "test"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "JPEGImages" / "cat" / name, np.zeros((4, 4, 3), np.uint8))
    (folder / "1-a-b:cat.json").write_text(json.dumps(record))
    (folder / "._1-a-b:cat.json").write_bytes(b"\0\5\x16\7")
    assert len(load_spair(tmp_path)) == 1
    (folder / "1-a-b:cat.json").write_text(json.dumps(record | change))
    assert "1-a-b:cat.json" in refused(load_spair, tmp_path)


AP10K = {
    "keypoints: nothing": {"keypoints": None},
    "keypoints: empty": {"keypoints": []},
    "keypoints: two numbers": {"keypoints": [1, 2]},
    "keypoints: words": {"keypoints": ["a", "b", "c"]},
    "keypoints: mixed": {"keypoints": [[1, 2, 3], 4]},
    "keypoints: a number": {"keypoints": 3},
    "bbox: a number": {"bbox": 3},
    "bbox: three": {"bbox": [1, 2, 3]},
    "bbox: NaN": {"bbox": [1, 2, NAN, 3]},
    "bbox: words": {"bbox": ["a", "b", "c", "d"]},
}


@pytest.mark.parametrize("change", AP10K.values(), ids=AP10K)
def test_ap10k(tmp_path, change):
    image = {"keypoints": [[1, 1, 2]], "bbox": [0, 0, 3, 3]}
    pair = {key: "C:\\ap-10k\\ImageAnnotation\\cat\\1.json" for key in ("src_json_path", "trg_json_path")}
    for part in ("PairAnnotation/test", "ImageAnnotation/cat"):
        (tmp_path / part).mkdir(parents=True)
    write_image(tmp_path / "JPEGImages" / "cat" / "1.jpg", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "PairAnnotation" / "test" / "1-1:cat.json").write_text(json.dumps(pair))
    (tmp_path / "ImageAnnotation" / "cat" / "1.json").write_text(json.dumps(image))
    assert len(load_ap10k(tmp_path)) == 1
    (tmp_path / "ImageAnnotation" / "cat" / "1.json").write_text(json.dumps(image | change))
    assert "1.json" in refused(load_ap10k, tmp_path)


ROWS = {
    "class 0.5": ("a.jpg", "b.jpg", "0.5", "1", "1", "1", "1"),
    "class 99": ("a.jpg", "b.jpg", "99", "1", "1", "1", "1"),
    "words": ("a.jpg", "b.jpg", "1", "a", "1", "1", "1"),
    "NaN": ("a.jpg", "b.jpg", "1", "nan", "1", "1", "1"),
    "infinity": ("a.jpg", "b.jpg", "1", "1", "inf", "1", "1"),
    "other counts": ("a.jpg", "b.jpg", "1", "1;2", "1", "1", "1"),
    "a short row": ("a.jpg", "b.jpg", "1"),
    "a long class": ("a.jpg", "b.jpg", "9" * 5000, "1", "1", "1", "1"),
    "a field beyond any": ("a" * 200_000, "b.jpg", "1", "1", "1", "1", "1"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_pf_pascal(tmp_path, row):
    path = tmp_path / "list.csv"
    path.write_text(",".join(COLUMNS) + "\n" + ",".join(row) + "\n")
    assert "list.csv" in refused(read_pairs, path, tmp_path)


@pytest.mark.parametrize("data", [b"\xff\xfe\xff", b"\xc3\x28,\n", b"", b"a,b\n1,2\n"])
def test_pf_pascal_lists_of_other_bytes(tmp_path, data):
    (tmp_path / "list.csv").write_bytes(data)
    assert "list.csv" in refused(read_pairs, tmp_path / "list.csv", tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_pf_willow_with_broken_bytes(tmp_path, seed):
    from scipy.io import savemat

    path = tmp_path / "a.mat"
    savemat(path, {"pts_coord": np.random.default_rng(0).random((2, 10))}, do_compression=bool(seed % 2))
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for at in rng.integers(124, len(data), 12):
        data[at] = rng.integers(256)
    path.write_bytes(data)
    try:
        assert read_points(path).shape[1] == 2
    except EquiviewError as error:
        assert "a.mat: expected" in str(error)
