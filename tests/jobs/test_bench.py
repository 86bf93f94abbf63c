"""The bench: perfect with the oracle, chance with noise, resumable, clear about what is missing, comparable."""

import json
import pickle
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from equiview.data.synthetic.categories import CategoryWorld, category_views
from equiview.data.synthetic.clips import ClipWorld, rendered_clip
from equiview.data.synthetic.pose import PoseWorld, posed_view
from equiview.data.synthetic.rendered import set_seeds
from equiview.errors import EquiviewError
from equiview.io import write_json
from equiview.jobs.bench import SIZES, TASKS, BenchConfig, Sizes, bench
from equiview.jobs.bench.examples import Order, ends, example_canvas
from equiview.jobs.bench.real import DATASETS, folders_below, real_sets
from equiview.jobs.bench.settings import Again
from equiview.jobs.bench.synthetic import synthetic_sets
from equiview.jobs.compare import compare_runs
from equiview.jobs.run_folder import as_json, claim_folder
from equiview.models.oracle import NoiseExtractor, OracleExtractor, PictureOracle
from equiview.report.bench import bench_table, is_bench, read_bench, write_bench_report
from equiview.report.table import comparison_notes, comparison_table
from recall_sets import write_co3d

TINY = Sizes(
    scenes=1,
    conditions=("plain",),
    pose=PoseWorld(references=10, queries=2, hw=(192, 192)),
    clips=1,
    # None of these points lies at a depth edge, where tokens mix two surfaces and even the oracle is not certain.
    clip=ClipWorld(frames=3, object_points=8, background_points=6, occluder=False, turn_deg=6),
    instances=2,
    category=CategoryWorld(categories=("chair", "vessel"), hw=(224, 224)),
)
CONFIG = BenchConfig(sizes=TINY)
SEEDS = set_seeds(0, 1)


class ByShape:
    """The oracle for all three tasks: their pictures have different sizes, and need different strides."""

    def __init__(self) -> None:
        (pose,) = [one for one in synthetic_sets(CONFIG) if one.task == "pose"]
        scenes = pose.open().items
        posed = [posed_view(one) for scene in scenes for one in (*scene.references, *scene.queries)]
        frames = [view for seed in SEEDS for view in rendered_clip(seed, TINY.clip).surfaces]
        surfaces = [one.surface for one in category_views(set_seeds(0, 2), TINY.category)]
        parts = ((posed, 2), (frames, 1), (surfaces, 1))
        self.oracles = {views[0].rgb.shape: PictureOracle(views, stride) for views, stride in parts}

    def maps(self, pictures, **options):
        for picture in pictures:
            yield from self.oracles[np.shape(picture)].maps([picture], **options)

    def describe(self):
        return {"backbone": "oracle"}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oracle") / "run"
    return folder, bench(ByShape(), folder, CONFIG)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise") / "run"
    return folder, bench(NoiseExtractor(stride_px=16), folder, CONFIG)


def test_the_oracle_is_perfect(oracle):
    tasks = oracle[1]["tasks"]
    assert tasks["pose"]["synthetic-plain"]["pose_recall@1cm1deg"]["value"] == 100
    assert tasks["track"]["synthetic-clips"]["average_jaccard"]["value"] > 99
    assert tasks["track"]["synthetic-clips"]["share_under_8px"]["value"] == 1
    assert tasks["transfer"]["synthetic-families"]["pck@0.10"]["value"] == 100


def test_noise_is_chance(noise):
    tasks = noise[1]["tasks"]
    assert tasks["pose"]["synthetic-plain"]["pose_recall@5deg"]["value"] == 0
    assert tasks["track"]["synthetic-clips"]["share_under_8px"]["value"] < 0.1
    assert tasks["transfer"]["synthetic-families"]["pck@0.10"]["value"] < 15


def test_summary_and_files(noise):
    folder, summary = noise
    assert list(summary["tasks"]) == ["pose", "track", "transfer"] and summary["missing"] == []
    assert json.loads((folder / "summary.json").read_text()) == summary
    for task, datasets in summary["tasks"].items():
        for name, metrics in datasets.items():
            assert all({"value", "ci95", "n"} <= entry.keys() for entry in metrics.values())
            assert summary["protocol"]["datasets"][task][name]["features"]["backbone"] == "noise"
            assert (folder / "rows" / task / f"{name}.jsonl").read_text().endswith("\n")
            index = json.loads((folder / "pictures" / task / name / "index.json").read_text())
            assert {one["kind"] for one in index} == {"best", "worst"}
            for one in index:
                assert Image.open(folder / "pictures" / task / name / one["file"]).height == 280
    assert summary["protocol"]["bench"]["sizes"]["scenes"] == 1


def test_an_interrupted_run_goes_on(noise, tmp_path):
    folder, whole = noise
    out, done = tmp_path / "run", []

    def stop(stage, number, total):
        done.append(stage)
        if stage == "bench" and number == 2:
            raise KeyboardInterrupt

    source = NoiseExtractor(stride_px=16)
    with pytest.raises(KeyboardInterrupt):
        bench(source, out, CONFIG, stop)
    assert not (out / "summary.json").exists() and "track synthetic-clips" in done
    first = out / "rows" / "pose" / "synthetic-plain.jsonl"
    stamp = first.stat().st_mtime_ns
    again = []
    summary = bench(source, out, CONFIG, lambda stage, *_: again.append(stage))
    assert set(again) == {"bench", "transfer synthetic-families"} and first.stat().st_mtime_ns == stamp
    assert summary == whole
    assert first.read_text() == (folder / "rows" / "pose" / "synthetic-plain.jsonl").read_text()
    with pytest.raises(EquiviewError, match="another run .*features"):
        bench(NoiseExtractor(seed=1, stride_px=16), out, CONFIG)


@pytest.mark.parametrize("task", ["pose", "transfer"])
def test_an_interrupted_data_set_goes_on(task, noise, tmp_path):
    config = BenchConfig(sizes=TINY, tasks=(task,))
    source, done = NoiseExtractor(stride_px=16), []

    def stop(stage, number, total):
        if stage != "bench":
            done.append(number)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench(source, tmp_path, config, stop)
    assert done == [1]
    again = []
    summary = bench(source, tmp_path, config, lambda stage, number, _: again.append((stage, number)))
    assert [number for stage, number in again if stage != "bench"][0] == 2
    assert summary["tasks"][task] == noise[1]["tasks"][task]
    assert [path.suffixes for path in (tmp_path / "rows" / task).iterdir()] == [[".jsonl"]]


def test_compare_two_benches(oracle, noise, tmp_path):
    found = compare_runs(noise[0], oracle[0])
    assert found["kind"] == "bench" and found["only_in"] == [[], []]
    pose = found["tasks"]["pose"]["synthetic-plain"]["metrics"]["pose_recall@5deg"]
    assert (pose["before"], pose["after"], pose["value"], pose["n"]) == (0, 100, 100, 2)
    track = found["tasks"]["track"]["synthetic-clips"]
    share = track["metrics"]["share_under_8px"]
    # One clip is no sample of clips, so the share is compared over its points, the other scores without an interval.
    assert share["n"] > 5 and share["ci95"][0] > 0.8 and track["metrics"]["average_jaccard"]["ci95"] is None
    pck = found["tasks"]["transfer"]["synthetic-families"]["metrics"]["pck@0.10"]
    assert pck["value"] > 85 and found["tasks"]["transfer"]["synthetic-families"]["unit"] == "image0"
    same = compare_runs(noise[0], noise[0])["tasks"]["transfer"]["synthetic-families"]["metrics"]["pck@0.10"]
    assert same["value"] == 0
    assert comparison_table(found).row_count > 8
    assert any("clip, point" in note for note in comparison_notes(found))
    other = tmp_path / "other"
    bench(NoiseExtractor(stride_px=16), other, BenchConfig(sizes=TINY, tasks=("transfer",)))
    assert compare_runs(noise[0], other)["only_in"] == [["pose/synthetic-plain", "track/synthetic-clips"], []]
    with pytest.raises(EquiviewError, match="two runs of one kind|metrics"):
        (tmp_path / "plain").mkdir()
        (tmp_path / "plain" / "summary.json").write_text('{"metrics": {"pck@0.10": {}}, "protocol": {"transfer": {}}}')
        (tmp_path / "plain" / "rows.jsonl").write_text('{"pair": "a"}\n')
        compare_runs(noise[0], tmp_path / "plain")


def test_benches_that_share_nothing(noise, tmp_path):
    bench(NoiseExtractor(stride_px=16), tmp_path, BenchConfig(sizes=TINY, tasks=("transfer",)))
    summary = json.loads((tmp_path / "summary.json").read_text())
    summary["tasks"] = {"transfer": {}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(EquiviewError, match="a data set that both have"):
        compare_runs(noise[0], tmp_path)


def test_the_page(noise, tmp_path):
    folder, summary = noise
    page = write_bench_report(folder, tmp_path / "page.html").read_text()
    assert page.count("<img ") == len(list((folder / "pictures").rglob("*.jpg"))) and "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "Best of synthetic-clips" in page and "Worst of synthetic-plain" in page and "Not measured" not in page
    assert bench_table(summary).row_count == 5 + 6 + 5
    assert is_bench(folder) and not is_bench(tmp_path)
    with pytest.raises(EquiviewError, match="resumes it"):
        read_bench(tmp_path)


def make_willow(root: Path, broken: bool = False) -> None:
    folder = root / "semantic" / "PF-dataset-WILLOW" / "car(G)"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(folder / f"{name}.png")
        savemat(folder / f"{name}.mat", {"pts_coord": rng.uniform(5, 55, (2, 10))})
    if broken:
        (folder / "a.png").unlink()


def test_the_real_suite_says_what_is_missing(tmp_path):
    root = tmp_path / "data"
    make_willow(root)
    (root / "tracking" / "joint_annotations").mkdir(parents=True)
    (root / "tracking" / "joint_annotations" / "dog.json").write_text("[]")
    config = BenchConfig("real", TASKS, str(root))
    summary = bench(NoiseExtractor(stride_px=8), tmp_path / "run", config)
    assert summary["tasks"]["transfer"]["pf-willow"]["pck@0.10"]["n"] == 6
    missing = {one["dataset"]: one for one in summary["missing"]}
    assert set(missing) == set(DATASETS) - {"pf-willow"}
    assert "video" in missing["badja"]["problem"]  # Annotations are there, frames are not.
    assert missing["spair"]["problem"] == f"not found under {root}"
    assert all(one["where"] and one["layout"] for one in missing.values())
    page = write_bench_report(tmp_path / "run").read_text()
    assert "Not measured" in page and "SPair-71k" in page
    # Once there is more, the same call measures it too.
    shutil.rmtree(root / "tracking")
    assert bench(NoiseExtractor(stride_px=8), tmp_path / "run", config)["tasks"] == summary["tasks"]


def test_a_broken_data_set_is_named_and_the_others_are_measured(tmp_path):
    make_willow(tmp_path / "data", broken=True)
    config = BenchConfig("real", ("transfer",), str(tmp_path / "data"))
    summary = bench(NoiseExtractor(stride_px=8), tmp_path / "run", config)
    assert summary["tasks"] == {"transfer": {}}
    assert "a.png" in next(one for one in summary["missing"] if one["dataset"] == "pf-willow")["problem"]


def test_recall_is_perfect_with_the_oracle_and_chance_with_noise(tmp_path):
    config = BenchConfig(tasks=("recall",), sizes=replace(TINY, recall_objects=1, recall_views=7, recall_hw=(144, 144)))
    best = bench(OracleExtractor(stride_px=1), tmp_path / "best", config)["tasks"]["recall"]["synthetic-ring"]
    assert best["recall@2cm@30-60deg"]["value"] == best["recall@2cm@90-120deg"]["value"] == 100
    assert best["recall@2cm"]["n"] == 7
    noise = bench(NoiseExtractor(stride_px=16), tmp_path / "noise", config)
    chance = noise["tasks"]["recall"]["synthetic-ring"]
    assert chance["recall@2cm"]["value"] < 8 and chance["recall@2cm@30-60deg"]["value"] < 8
    protocol = noise["protocol"]["datasets"]["recall"]["synthetic-ring"]["recall"]
    assert (protocol["binned"], protocol["matches"]) == ("2cm", 250)
    page = write_bench_report(tmp_path / "noise").read_text()
    assert "Viewpoint recall" in page and "cameras rotated by" in page
    compared = compare_runs(tmp_path / "noise", tmp_path / "best")
    assert "recall@2cm" in json.dumps(compared)


def test_captures_and_scannet_are_scored(tmp_path):
    root = tmp_path / "data"
    write_co3d(root, count=4)
    summary = bench(NoiseExtractor(stride_px=16), tmp_path / "run", BenchConfig("real", ("recall",), str(root)))
    assert list(summary["tasks"]["recall"]) == ["captures"]
    assert summary["tasks"]["recall"]["captures"]["recall@2cm"]["n"] == 8
    assert {one["dataset"] for one in summary["missing"]} == {"navi", "scannet-1500"}


def layouts(root: Path) -> None:
    """Just enough of every data set to be recognised."""
    files = {
        "mview/dino/dino_par.txt": "",
        "mview/ring/dinoSR_par.txt": "",
        "one/lowtexture_test_data/0700-toyrobot-others/toyrobot-1/poses_ba/0.txt": "",
        "ycbv/models_eval/models_info.json": "{}",
        "lmo/models/models_info.json": "{}",
        "joint_annotations/dog.json": "",
        "tap/tapvid_davis.pkl": "",
        "tap/tapvid_rgb_stacking.pkl": "",
        "tap/tapvid_kinetics/0000.pkl": "",
        "semantic/PF-dataset-WILLOW/car(G)/a.mat": "",
        "semantic/PF-dataset-PASCAL/JPEGImages/a.jpg": "",
        "semantic/PF-dataset-PASCAL/test_pairs_pf_different_views.csv": "",
        "semantic/PF-dataset-PASCAL/test_pairs_pf_same_views.csv": "",
        "lists/test_pairs_pf_same_views.csv": "",
        "SPair-71k/PairAnnotation/test/1-a-b:cat.json": '{"src_imname": 0}',
        "ap-10k/PairAnnotation/test/1-2:cat.json": '{"src_json_path": 0}',
        "ap-10k/PairAnnotation/test_cross_species/1.json": '{"src_json_path": 0}',
        "ap-10k/PairAnnotation/test_cross_family/1.json": '{"src_json_path": 0}',
        "TSS_CVPR2016/JODS/pair/flow1.flo": "",
        "navi_v1/cup/wild_set/annotations.json": "[]",
        "scannet_test_1500/test.npz": "",
        "scannet_test_1500/intrinsics.npz": "",
        "captures/shoe/transforms.json": "{}",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_every_data_set_is_recognised(tmp_path):
    layouts(tmp_path)
    found, missing = real_sets(BenchConfig("real", TASKS, str(tmp_path)))
    assert {one.name for one in found} == set(DATASETS) and missing == []
    sent = pickle.loads(pickle.dumps(found))  # As engines send them to other processes.
    assert [one.open.args for one in sent] == [one.open.args for one in found]
    folders = list(folders_below(tmp_path, 3))
    places = {name: next(p for f in folders if (p := one.find(f))) for name, one in DATASETS.items()}
    assert places["spair"].name == "SPair-71k" and places["ap10k"].name == "ap-10k"
    assert places["pf-pascal-same"].name == "PF-dataset-PASCAL"
    assert places["captures"].name == "captures" and places["navi"].name == "navi_v1"
    assert places["onepose-lowtexture"].name == "lowtexture_test_data"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ("pose", "depth")}, "tasks: expected some of pose, track, transfer, recall,.*'depth'"),
        ({"tasks": ()}, "each once"),
        ({"tasks": ("pose", "pose")}, "each once"),
        ({"suite": "other"}, "suite: expected synthetic or real"),
        ({"suite": "real"}, "root of the real suite"),
        ({"root": "data"}, "root of the synthetic suite"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(EquiviewError, match=message):
        BenchConfig(**settings)


def test_bad_roots_and_conditions(tmp_path):
    source = NoiseExtractor()
    with pytest.raises(EquiviewError, match="nothing there"):
        bench(source, tmp_path / "run", BenchConfig("real", root=str(tmp_path / "gone")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(EquiviewError, match="pf-willow: github.com.*must lie as PF-dataset-WILLOW") as caught:
        bench(source, tmp_path / "run", BenchConfig("real", TASKS, str(tmp_path / "empty")))
    assert all(name in str(caught.value) for name in DATASETS)
    with pytest.raises(EquiviewError, match="conditions: expected some of"):
        bench(source, tmp_path / "run", BenchConfig(sizes=Sizes(conditions=("fog",))))
    assert not (tmp_path / "run").exists()


def test_the_ends_of_a_ranking():
    order = Order(lambda row: row["e"], lambda row: row["g"], lambda row: row["e"] < 100)
    rows = [{"e": e, "g": g} for e, g in [(5, "a"), (1, "a"), (2, "a"), (9, "b"), (8, "b"), (3, "c"), (100, "c")]]
    best, worst = ends(rows, order, 2)
    assert [row["e"] for row in best] == [1, 3] and [row["e"] for row in worst] == [9, 5]
    assert ends(rows[:1], order, 3) == ([rows[0]], []) and ends(rows[-1:], order, 3) == ([], [])


def test_the_canvas_scales_places():
    left, right = np.zeros((140, 70, 3), np.uint8), np.full((560, 560, 3), 255, np.uint8)
    canvas = example_canvas(left, right)
    canvas.dot(canvas.left, np.array([35.0, 70.0]), (255, 0, 0))
    canvas.dot(canvas.right, np.array([280.0, 280.0]), (0, 0, 255))
    canvas.dot(canvas.right, np.array([np.nan, 0]), (0, 0, 255))
    rgb = canvas.rgb()
    assert rgb.shape == (280, 140 + 6 + 280, 3)
    assert rgb[140, 70].tolist() == [255, 0, 0] and rgb[140, 146 + 140].tolist() == [0, 0, 255]
    assert rgb[10, 10].tolist() == [0, 0, 0] and rgb[10, 160].tolist() == [255, 255, 255]


def test_items_are_read_again():
    calls = []
    items = Again(lambda: calls.append(1) or [1, 2])
    assert list(items) == list(items) == [1, 2] and len(calls) == 2


def test_the_command(run, monkeypatch, tmp_path, noise):
    from models.backbones.tiny import make_model, save

    monkeypatch.setitem(SIZES, "small", TINY)
    model = save(make_model("vit"), tmp_path / "vit")
    common = ("bench", "-b", model, "--out", tmp_path / "run", "--tasks", "track,transfer", "--long-side", 64)
    code, out, _ = run(*common, "--average", "--device", "cpu")
    assert code == 0 and "share_under_8px" in out and "pck@0.10" in out and "report.html" in out
    code, out, _ = run("compare", noise[0], tmp_path / "run", "--anyway")
    assert code == 0 and "transfer" in out and "Left out, in the first run only: pose/synthetic-plain" in out
    code, out, _ = run("report", tmp_path / "run", "--json")
    assert code == 0 and json.loads(out)["summary"]["tasks"]["track"]
    code, _, err = run("bench", "-b", model, "--out", tmp_path / "x", "--tasks", "pose,depth")
    assert code == 2 and "'depth'" in err
    code, _, err = run("bench", "-b", model, "--out", tmp_path / "x", "--suite", "real", "--root", tmp_path / "no")
    assert code == 2 and "nothing there" in err


@pytest.mark.parametrize("wrap", [lambda sizes: {"bench": {"sizes": sizes}}, lambda sizes: {"sizes": sizes}])
def test_sizes_recorded_under_their_former_names_are_the_same_run(wrap, tmp_path):
    now, former = (as_json(asdict(TINY)) for _ in range(2))
    former["members"] = former.pop("instances")
    former["family"] = former.pop("category")
    former["family"]["families"] = former["family"].pop("categories")
    (tmp_path / "rows").mkdir()
    write_json(tmp_path / "run.json", wrap(former))
    claim_folder(tmp_path, wrap(now))
    with pytest.raises(EquiviewError, match="another run"):
        claim_folder(tmp_path, wrap(now | {"instances": 99}))
