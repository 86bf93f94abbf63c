"""`equiview data`, and OmniProbe's results both ways."""

import json

import pytest

from equiview.errors import EquiviewError
from equiview.formats.omniprobe import metric_name, read_results, write_results
from equiview.jobs.bench.real import DATASETS
from equiview.jobs.data import check, how, list_sets
from equiview.jobs.data_sets import WORDS, data_sets
from equiview.jobs.study.readers import read_results as read_study
from equiview.models.oracle import NoiseExtractor
from equiview.tasks.recall import RecallConfig, protocol_of, summarize
from recall_sets import write_co3d, write_navi


def test_every_data_set_of_the_bench_is_described():
    assert WORDS.keys() == DATASETS.keys()
    for one in list_sets():
        assert all(one.values()) and all(how(one["name"]).values())


def test_sets_are_found_and_ten_samples_are_read(tmp_path):
    write_navi(tmp_path / "navi_v1", ("bowl", "cup"))
    write_co3d(tmp_path / "co3d")
    found = {one["name"]: one["found"] for one in list_sets(tmp_path)}
    assert found.pop("navi") == str(tmp_path / "navi_v1")
    assert found.pop("co3d") == str(tmp_path / "co3d" / "apple" / "1_2_3")
    assert found.pop("captures") == str(tmp_path / "co3d" / "apple")
    assert set(found.values()) == {""} and len(found) == len(data_sets()) - 3
    navi = check("navi", tmp_path)
    assert len(navi["samples"]) == 10 and navi["samples"][0] == "bowl 000" and navi["items"] is None
    co3d = check("co3d", tmp_path)
    assert co3d["items"] == 4 and len(co3d["samples"]) == 4


def test_what_is_wrong_with_a_set_is_said(tmp_path):
    with pytest.raises(EquiviewError, match="wild_set.*google/navi"):
        check("navi", tmp_path)
    with pytest.raises(EquiviewError, match="one of middlebury"):
        how("imagenet")
    root = write_navi(tmp_path / "navi_v1")
    (root / "cup" / "wild_set" / "images" / "000.jpg").unlink()
    with pytest.raises(EquiviewError, match=r"000\.jpg"):
        check("navi", tmp_path)


def test_the_command(run, tmp_path):
    write_co3d(tmp_path)
    code, out, _ = run("data", "check", "co3d", "--root", str(tmp_path))
    assert code == 0 and "frame000003.jpg" in out
    assert json.loads(run("data", "list", "--json")[1])["sets"][0]["name"] == "middlebury"
    assert "navi_v1.tar.gz" in run("data", "how", "navi")[1]
    for wrong in (("list", "navi"), ("how",), ("check", "navi")):
        assert run("data", *wrong)[0] == 2


def bench_summary(values):
    """The summary of a bench of NAVI, of pairs with these recalls."""
    names = [f"recall@{t:g}cm" for t in (1, 2, 5)] + [f"recall@{t}px" for t in (5, 25, 50)]
    rows = [
        {"object": "cup", "pair": ["a", str(i)], "angle_deg": 20.0 + 30 * i, "n": 9} | dict.fromkeys(names, value)
        for i, value in enumerate(values)
    ]
    summary = summarize(rows, protocol_of(NoiseExtractor(), RecallConfig()))
    protocol = {"datasets": {"recall": {"navi": summary["protocol"]}}}
    return {"tasks": {"recall": {"navi": summary["metrics"]}}, "protocol": protocol}


def test_results_go_to_omniprobe_and_back(tmp_path):
    summary, path = bench_summary([80.0, 60.0]), tmp_path / "correspondence_navi.jsonl"
    assert write_results(path, summary) == ["navi"]
    entry = json.loads(path.read_text())
    assert entry.keys() >= {"time", "task", "backbone", "patch_size", "layer", "output", "metrics", "config"}
    assert entry["dataset"] == "NAVI_wild_all" and entry["num_corr"] == 1000
    names = ["Recall@0.01m", "Recall@0.02m", "Recall@0.05m", "Recall@5px", "Recall@25px", "Recall@50px"]
    bins = {"Recall@0-30deg@2cm": 80.0, "Recall@30-60deg@2cm": 60.0}  # The others are empty.
    assert entry["metrics"] == dict.fromkeys(names, 70.0) | bins
    assert metric_name("pck@0.10") is None and metric_name("delta_avg") == "delta_avg"
    (read,) = read_results(path)
    assert (read.task, read.backbone, read.metrics) == ("navi", "noise", entry["metrics"])
    (point,) = read_study([f"omniprobe:{path}"]).points
    assert point.name == "noise" and point.scores["navi/recall@0.02m"] == 70


def test_lines_of_omniprobe_are_points_of_a_study(tmp_path):
    """As its script of TAP-Vid writes them; the board has the same score as tracking/delta_avg."""
    path = tmp_path / "tracking_tapvid.jsonl"
    lines = [("dinov2_b14", "11", 36.0), ("dinov2_b14", "8", 30.0), ("mae_b16", "11", 20.0), ("mae_b16", "11", 21.0)]
    rows = [{"task": "tapvid", "backbone": b, "layer": n, "metrics": {"delta_avg": v}} for b, n, v in lines]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    points = {one.name: one.scores for one in read_study([f"omniprobe:{path}"]).points}
    assert points == {
        "dinov2_b14, layer 11": {"tracking/delta_avg": 36.0},
        "dinov2_b14, layer 8": {"tracking/delta_avg": 30.0},
        "mae_b16": {"tracking/delta_avg": 21.0},
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [("[]", "an object"), ('{"task": "navi", "metrics": {}}', "no backbone"), ("", "lines of results")]
    + [('{"task": "navi", "backbone": "b", "metrics": {"Recall@5px": "high"}}', "a finite number")],
)
def test_bad_results_are_said_so(tmp_path, line, words):
    (tmp_path / "bad.jsonl").write_text(line + "\n" if line else "")
    with pytest.raises(EquiviewError, match=words):
        read_results(tmp_path / "bad.jsonl")
