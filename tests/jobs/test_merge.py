"""Shards of a run, put together, are the run of one process; what is no whole run is refused."""

import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from equiview.errors import EquiviewError
from equiview.io import read_json, write_json
from equiview.jobs.engine import parse_engine
from equiview.jobs.measure import MeasureRun, measure_objects
from equiview.jobs.merge import merge
from equiview.jobs.transfer import TransferRun, score_transfer
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.tasks.equivariance import MeasureConfig
from worlds import sphere_ring

pytestmark = pytest.mark.usefixtures("undrawn")
COMPARED = ("run.json", "rows.jsonl", "summary.json", "summary_in_mask.json", "summary_unambiguous.json")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A run of five spheres of different focal lengths, one of them broken, whole and in two shards."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "list.txt").write_text("# five\n" + "".join(f"procedural:{n}\n" for n in range(1, 6)))

    def opened(source, *, n_views, **_):
        if source == "procedural:3":
            raise EquiviewError("a broken file")
        return sphere_ring(n_views, focal_px=60.0 + 4 * int(source[-1]))

    run = MeasureRun((str(folder / "list.txt"),), views=4, measure=MeasureConfig(points=40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equiview.jobs.run_folder.open_source", opened)
        for name, shard in (("whole", None), ("1", "1/2"), ("2", "2/2")):
            measure_objects(OracleExtractor(stride_px=4), run, folder / name, engine=parse_engine("local", shard))
    return folder


def test_the_merged_folder_is_that_of_one_process(run, shards, tmp_path):
    out = tmp_path / "merged"
    code, stdout, stderr = run("merge", shards / "2", shards / "1", "--out", out, "--json")
    assert code == 0, stderr
    for name in COMPARED:
        assert (out / name).read_bytes() == (shards / "whole" / name).read_bytes(), name
    for name in ("rows", "live", "broken"):
        here, there = (sorted(p.name for p in (f / name).iterdir()) for f in (out, shards / "whole"))
        assert here == there, name
    assert len((out / "units.jsonl").read_text().splitlines()) == 5 and (out / "report.html").exists()
    summary = json.loads(stdout)["summary"]
    assert summary["protocol"]["broken"] == ["procedural-3"]
    assert "1 of 5 objects could not be opened" in summary["protocol"]["notes"][0]
    assert read_json(shards / "1" / "summary.json")["protocol"]["shard"] == "1/2"
    # It is a finished run: merging again changes nothing.
    assert merge([shards / "1", shards / "2"], out)[1] == summary


def test_what_is_not_one_whole_run_is_refused(shards, tmp_path):
    one, two, out = shards / "1", shards / "2", tmp_path / "out"
    copy = shutil.copytree(two, tmp_path / "copy")
    for runs, said in (
        ([one], "expected 2 shards, found no shard 2"),
        ([one, two, copy], "expected shards that do not overlap, found shard 2 in"),
        ([one, shards / "whole"], "expected a shard"),
        ([one, tmp_path / "gone"], "a shard, found nothing there"),
    ):
        with pytest.raises(EquiviewError, match=said):
            merge(runs, out)
    record = read_json(copy / "run.json")
    write_json(copy / "run.json", {**record, "views": 5})
    with pytest.raises(EquiviewError, match="found other views"):
        merge([one, copy], out)
    write_json(copy / "run.json", record)
    summary = read_json(copy / "summary.json")
    summary["protocol"]["versions"]["torch"] = "1.0"
    write_json(copy / "summary.json", summary)
    with pytest.raises(EquiviewError, match="found other versions"):
        merge([one, copy], out)
    next((copy / "rows").iterdir()).unlink()
    with pytest.raises(EquiviewError, match="expected a finished shard, found 1 of 2 units left"):
        merge([one, copy], out)
    assert not out.exists()


def test_all_objects_broken_is_an_error(tmp_path, monkeypatch):
    def broken(source, **_):
        raise EquiviewError("a broken file")

    monkeypatch.setattr("equiview.jobs.run_folder.open_source", broken)
    (tmp_path / "list.txt").write_text("procedural:1\nprocedural:2\n")
    run = MeasureRun((str(tmp_path / "list.txt"),), views=4)
    with pytest.raises(EquiviewError, match="one or more that can be opened, found 2 broken: a broken file"):
        measure_objects(OracleExtractor(), run, tmp_path / "out")
    with pytest.raises(EquiviewError, match="a broken file"):
        measure_objects(OracleExtractor(), MeasureRun(("procedural:1", "procedural:2"), views=4), tmp_path / "named")


def test_clips_and_pairs_are_merged_too(run, tmp_path, monkeypatch, sent):
    rng = np.random.default_rng(0)
    clip = {"video": rng.integers(0, 256, (3, 48, 64, 3), dtype=np.uint8), "points": rng.random((2, 3, 2))}
    clip["occluded"] = np.zeros((2, 3), bool)
    (tmp_path / "clips.pkl").write_bytes(pickle.dumps({name: clip for name in ("a", "b", "c")}))
    monkeypatch.setattr("equiview.jobs.feature_options.open_features", lambda *_, **__: NoiseExtractor())
    for name, more in (("whole", ("--engine", "process:2")), ("1", ("--shard", "1/2")), ("2", ("--shard", "2/2"))):
        benchmark = ("--benchmark", f"tapvid:{tmp_path / 'clips.pkl'}", "--out", tmp_path / name)
        code, _, stderr = run("track", "-b", "none", *benchmark, *more)
        assert code == 0, stderr
    assert merge([tmp_path / "2", tmp_path / "1"], tmp_path / "merged")[0] == "track"

    picture = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)).save(picture)
    pair = {"image0": "a.png", "image1": "a.png", "xy0": [[10, 20], [80, 50]], "xy1": [[10, 20], [70, 50]]}
    (tmp_path / "pairs.json").write_text(json.dumps({"pairs": [pair] * 3}))
    monkeypatch.setattr("equiview.jobs.transfer.BLOCK_PAIRS", 1)
    task, source = TransferRun(f"json:{tmp_path / 'pairs.json'}"), NoiseExtractor()
    score_transfer(source, task, tmp_path / "pairs" / "whole", engine=sent)
    for part in "12":
        score_transfer(source, task, tmp_path / "pairs" / part, engine=parse_engine("local", f"{part}/2"))
    merge([tmp_path / "pairs" / part for part in "12"], tmp_path / "pairs" / "merged")
    for folder in (tmp_path, tmp_path / "pairs"):
        for name in COMPARED[:3]:
            assert (folder / "merged" / name).read_bytes() == (folder / "whole" / name).read_bytes(), (folder, name)
