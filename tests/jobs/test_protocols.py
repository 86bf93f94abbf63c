"""Published protocols: their settings reach the measurement, and their numbers stand beside the scores."""

import json

import numpy as np
import pytest
from PIL import Image

from equiview.errors import EquiviewError
from equiview.jobs.bench import BenchConfig, bench, tasks_of
from equiview.jobs.bench.published import BACKBONES, NAMES, PROTOCOLS, backbone_name, published, with_protocol
from equiview.jobs.bench.real import DATASETS
from equiview.jobs.bench.settings import Opened
from equiview.jobs.protocols import list_protocols
from equiview.jobs.study.paper import read_paper
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.oracle import NoiseExtractor
from equiview.report.bench import against_published, bench_table, published_words, write_bench_report
from equiview.tasks.transfer import TransferConfig


class Named(NoiseExtractor):
    """Noise that says it is another backbone."""

    name, more = "facebook/dinov2-base", {}

    def describe(self):
        return {**super().describe(), "backbone": self.name, **self.more}


def write_spair(root):
    folder = root / "SPair-71k"
    pair = {"src_imname": "a.jpg", "trg_imname": "b.jpg", "category": "cat", "trg_bndbox": [2, 1, 60, 50]}
    pair |= {"src_kps": [[10, 20], [30, 40]], "trg_kps": [[15, 26], [37, 28]]}
    for name in "ab":
        (folder / "JPEGImages" / "cat").mkdir(parents=True, exist_ok=True)
        rgb = np.random.default_rng(ord(name)).integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(rgb).save(folder / "JPEGImages" / "cat" / f"{name}.jpg")
    (folder / "PairAnnotation" / "test").mkdir(parents=True)
    (folder / "PairAnnotation" / "test" / "1-a-b:cat.json").write_text(json.dumps(pair))
    return root


@pytest.fixture
def spair(tmp_path):
    return write_spair(tmp_path / "data")


def spair_bench(source, root, out):
    return bench(source, out, BenchConfig("real", tasks_of("sd-dino"), str(root), protocol="sd-dino"))


def test_published_scores_stand_beside_ours(spair, tmp_path):
    summary = spair_bench(Named(), spair, tmp_path / "run")
    assert list(summary["tasks"]["transfer"]) == ["spair"] and summary["missing"] == []
    used = summary["protocol"]["datasets"]["transfer"]["spair"]["transfer"]
    assert used["square_px"] == 840 and used["localise"]["method"] == "token"
    assert summary["published"]["backbone"] == "DINOv2-B"
    assert summary["published"]["scores"]["transfer"]["spair"]["pck@0.10"] == 53.9
    value = summary["tasks"]["transfer"]["spair"]["pck@0.10"]["value"]
    cells = [str(one) for one in bench_table(summary).columns[3].cells]
    assert f"{value:.1f} (53.9, {value - 53.9:+.1f})" in cells
    assert "DINOv2-B in table of 3D-SC" in published_words(summary)
    page = write_bench_report(tmp_path / "run").read_text()
    assert "published (53.9, " in page


@pytest.mark.parametrize(
    ("name", "more"), [("noise", {}), ("facebook/dinov2-base", {"adapter": {"sha256": "0"}}), ("x/dinov2-small", {})]
)
def test_other_features_are_not_held_against_the_table(spair, tmp_path, name, more):
    source = Named()
    source.name, source.more = name, more
    summary = spair_bench(source, spair, tmp_path / "run")
    assert summary["published"]["scores"] == {} and "report nothing" in published_words(summary)


def test_features_take_the_stride_and_size_of_the_protocol():
    model = load_backbone("equiview/tiny")
    source, patch = Extractor(model, FeatureConfig()), model.info.patch
    tracking = next(one for one in PROTOCOLS if one.data_set == "tapvid-davis-strided")
    changed, opened = with_protocol(source, Opened([], TransferConfig()), tracking)
    assert changed.config.stride == patch // 2 and source.config.stride is None
    assert (opened.config.queries, opened.config.protocol, opened.long_side) == ("strided", "paper", 854)
    pascal = next(one for one in PROTOCOLS if one.data_set == "pf-pascal")
    _, opened = with_protocol(source, Opened([], TransferConfig()), pascal)
    assert opened.long_side == opened.config.square_px == 60 * patch and opened.config.localise.method == "paper"


def test_every_protocol_is_listed_and_runs_on_a_set_of_the_bench():
    assert NAMES == ("paper", "probe3d", "omniprobe", "sd-dino", "tapvid")
    for one in list_protocols():
        assert one["settings"] and (not one["runs"] or one["data_set"] in DATASETS)
        assert bool(one["published"]) == bool(one["source"])
        assert all(scores for scores in one["published"].values())
    assert set(tasks_of("omniprobe")) == {"track", "recall"}
    assert {backbone_name(f"facebook/{name}") for name in BACKBONES} == set(BACKBONES.values())


def test_the_papers_numbers_are_those_of_the_study():
    """One table, two files: the study has five models, the protocols more sizes."""
    names = {"DINOv2": "DINOv2-B", "DINOv2-Reg": "DINOv2-B-reg", "MAE": "MAE-B", "CLIP": "CLIP-B", "DeiT": "DeiT-B"}
    checked = 0
    for point in read_paper().points:
        for key, value in point.scores.items() if point.name in names else ():
            data_set, metric = key.split("/")
            data_set += "-strided" if data_set == "tapvid-davis" else ""
            found = published("paper", data_set).get(names[point.name])
            if found is not None:
                assert found[metric] == value
                checked += 1
    assert checked == 5 * (8 + 3 + 3 + 6)


def test_the_difference_is_written_with_its_sign():
    assert against_published(55.0, 56.9, 1) == "(56.9, -1.9)" and against_published(58.0, 56.9, 1) == "(56.9, +1.1)"
    assert against_published(None, 56.9, 1) == against_published(58.0, None, 1) == ""


def test_what_cannot_be_is_refused(run, tmp_path):
    with pytest.raises(EquiviewError, match="one of paper, probe3d"):
        tasks_of("sota")
    with pytest.raises(EquiviewError, match="the real suite"):
        BenchConfig(protocol="paper")
    with pytest.raises(EquiviewError, match="no size of its own"):
        BenchConfig("real", root=str(tmp_path), long_side=640, protocol="paper")
    code, out, _ = run("protocols", "--json")
    assert code == 0 and len(json.loads(out)["protocols"]) == len(PROTOCOLS)
    assert "42.18" in run("protocols")[1]
