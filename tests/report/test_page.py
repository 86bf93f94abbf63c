"""The page: whole, self-contained, escaped, and honest about what is missing."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from equiview.errors import EquiviewError
from equiview.metrics.equivariance import object_values
from equiview.report import read_run, write_report
from equiview.report.numbers import METRIC_NAMES, TITLES
from equiview.report.run import LABELS, VARIANTS
from equiview.report.sections import CONTROL_WORDS
from report.make_run import GAINS, OBJECTS, write_measured, write_run

VOID = {"br", "meta", "img"}
# In SVG an element that is not closed holds the next.
SVG_EMPTY = {"image", "use", "circle", "line", "path"}


class Page(HTMLParser):
    """Collects what the tests ask about and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.images_without_words: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attrs)["aria-label"] or "", [])
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if found.get("id") else []
        self.references += [found[k] for k in ("href", "src", "xlink:href") if found.get(k)]
        if tag == "img" and not found.get("alt"):
            self.images_without_words.append(str(found))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", notes=("The backbone is a tiny random ViT <tiny>.",))


@pytest.fixture(scope="module")
def html(run_dir: Path) -> str:
    return write_report(run_dir).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)), sorted(i for i in set(page.ids) if page.ids.count(i) > 1)
    assert not {"script", "iframe", "link"} & set(page.tags)


def test_every_link_and_picture_is_inside_the_file(page: Page, html: str) -> None:
    assert all(ref.startswith(("#", "data:image/")) for ref in page.references)
    assert all(ref[1:] in page.ids for ref in page.references if ref.startswith("#"))
    assert all(found[1] in page.ids for found in re.finditer(r"url\(#([^)]+)\)", html))
    assert re.search(r"https?://", html) is None
    assert "@import" not in html and re.search(r"url\((?!#)", html) is None
    assert "default-src 'none'" in html
    assert len(html) < 8_000_000


def test_drawings_have_words_for_those_who_cannot_see_them(page: Page, html: str) -> None:
    assert not page.images_without_words
    drawings = re.findall(r"<svg [^>]*role=\"img\"[^>]*>(.{0,8})", html)
    assert len(drawings) > 20
    assert all(start.startswith("<title>") for start in drawings)


def test_empty_elements_of_svg_are_closed(html: str) -> None:
    for tag in SVG_EMPTY:
        assert all(m[0].endswith("/>") for m in re.finditer(rf"<{tag}\b[^>]*>", html)), tag


def cell(entry: dict) -> str:
    """Return what a cell of an entry of the summary says."""
    return f"{entry['value']:.2f} {entry['ci95'][0]:.2f} to {entry['ci95'][1]:.2f} n = {entry['n']}"


def column(table: list[list[str]], title: str) -> dict[str, str]:
    """Return a column of a table by the names of its rows; arrows in titles say which way is better."""
    place = [name.split()[0] for name in table[0]].index(title)
    return {row[0]: row[place] for row in table[1:]}


def by_label(summary: dict) -> dict[str, dict]:
    parts = {"pretrained": summary["before"], "adapted": summary["after"], **summary["controls"]}
    return {LABELS[name]: part["metrics"] for name, part in parts.items()}


def test_every_number_stands_in_its_row_and_column(run_dir: Path, page: Page) -> None:
    parts = by_label(json.loads((run_dir / "summary.json").read_text()))
    assert len(parts) == 5
    for metric, title in ((name, TITLES[name]) for name in METRIC_NAMES):
        found = column(page.tables["Scores of every variant"], title)
        assert found == {label: cell(metrics[metric]) for label, metrics in parts.items()}
        for angles in ("0-45", "45-90", "90-180"):
            found = column(page.tables[f"{title} by angle"], f"{angles}\u00b0")
            assert found == {label: cell(metrics[metric]["by_angle"][angles]) for label, metrics in parts.items()}


def test_every_difference_stands_in_its_row_and_column(run_dir: Path, page: Page) -> None:
    summary = json.loads((run_dir / "summary.json").read_text())
    table = page.tables["Paired differences"]
    for metric, title in (("pcdp@0.05", "PCDP@0.05"), ("ape", "APE")):
        change = summary["difference"][metric]
        control = LABELS[change["vs_best_control"]["control"]].lower()
        for name, part in (("pretrained", change), (f"{control} (best control)", change["vs_best_control"])):
            row = next(row for row in table if row[0] == f"{title}: adapted minus {name}")
            entries = [part, *(part["by_angle"][angles] for angles in ("0-45", "45-90", "90-180"))]
            shown = [f"{e['value']:+.2f} {e['ci95'][0]:+.2f} to {e['ci95'][1]:+.2f}" for e in entries]
            better = [f"{e['n_improved']} of {e['n']} better" for e in entries]
            wanted = [f"{a.replace('-', chr(0x2212))} {b}" for a, b in zip(shown, better, strict=True)]
            assert row[1:] == wanted


def test_every_object_stands_in_its_row(run_dir: Path, page: Page) -> None:
    rows = [json.loads(line) for line in (run_dir / "rows.jsonl").read_text().splitlines()]
    for metric, title in (("pcdp@0.05", "PCDP@0.05"), ("ape", "APE")):
        table = page.tables[f"{title} by object"]
        assert [row[0] for row in table[1:]] == sorted(OBJECTS)
        for variant in GAINS:
            found = column(table, LABELS[variant].split()[0])
            own = {name: object_values([r for r in rows if r["variant"] == variant], metric)[name] for name in OBJECTS}
            assert found == {name: f"{value:.2f}" for name, value in own.items()}


def test_best_value_of_a_column_is_bold(run_dir: Path, html: str) -> None:
    summary = json.loads((run_dir / "summary.json").read_text())
    assert f"<b>{summary['after']['metrics']['pcdp@0.05']['value']:.2f}</b>" in html
    assert f"<b>{summary['before']['metrics']['pcdp@0.05']['value']:.2f}</b>" not in html


def test_every_control_of_a_run_is_explained(tmp_path: Path) -> None:
    gains = {"pretrained": 0.0, "fixed_average": 1.0, "without_object": 2.0, "adapted": 4.0}
    page = Page(write_report(write_run(tmp_path / "run", objects=("a",), gains=gains)).read_text(encoding="utf-8"))
    assert "The strongest control: only a gain over it was learned." in page.text
    assert "untrained 3\u00d73 convolution" not in page.text
    assert set(CONTROL_WORDS) == set(VARIANTS) - {"adapted"}


def losses(stage: str | None, count: int) -> str:
    rows = [{"step": s, "loss": 1 / s} | ({"stage": stage} if stage else {}) for s in range(1, count + 1)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_the_loss_of_every_stage_that_logged_is_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", objects=("a",))
    (run / "log.jsonl").write_text(losses("head", 100) + losses("<lora>", 7))
    html = write_report(run).read_text(encoding="utf-8")
    page = Page(html)
    assert "Loss of stage head" in page.text and "Loss of stage <lora>" in page.text
    assert "Training loss of stage head over 100 logged steps, from 1 to 0.01." in page.text
    assert "over 7 logged steps" in page.text and "No gradient steps" not in page.text
    (run / "log.jsonl").write_text(losses(None, 3))
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "Training loss over 3 logged steps" in page.text and "Loss of stage" not in page.text
    (run / "log.jsonl").write_text("")
    assert "No gradient steps were logged" in Page(write_report(run).read_text(encoding="utf-8")).text


def test_names_and_notes_are_escaped(html: str, page: Page) -> None:
    assert "<b>&lamp" not in html
    assert "<b>&lamp" in page.text
    assert "<tiny>" not in html
    assert "The backbone is a tiny random ViT <tiny>." in page.text


def test_protocol_is_there_in_full(page: Page) -> None:
    for words in ("meshes/screwdriver.glb", "token + parabola in 3x3", '"recipe"', "shortest image edge"):
        assert words in page.text


def test_page_is_the_same_when_written_again(run_dir: Path, html: str, tmp_path: Path) -> None:
    again = write_report(run_dir, tmp_path / "again.html")
    assert again.read_text(encoding="utf-8") == html


def test_page_of_a_measurement(tmp_path: Path) -> None:
    page = Page(write_report(write_measured(tmp_path / "measured")).read_text(encoding="utf-8"))
    assert "of the points are found within 5 % of the image edge" in page.text
    assert "Adapted" not in page.text and "Training" not in page.text
    assert page.open == []


def test_two_objects_give_no_interval_and_the_page_says_so(tmp_path: Path) -> None:
    page = Page(write_report(write_run(tmp_path / "few", objects=("a", "b"))).read_text(encoding="utf-8"))
    assert "fewer than 5" in page.text
    assert "Too few objects to tell" in page.text


def test_empty_bin_is_a_dash(tmp_path: Path) -> None:
    run = write_measured(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    for metric in summary["metrics"].values():
        metric["by_angle"]["90-180"] = {"value": None, "ci95": None, "n": 0}
    (run / "summary.json").write_text(json.dumps(summary))
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "\u2013 n = 0" in page.text
    assert "None" not in page.text and "null" not in page.text.split("The whole protocol")[0]


def test_page_without_rows_log_adapter_or_pictures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", objects=("a", "b"))
    for name in ("rows.jsonl", "log.jsonl", "adapter/equiview.json", *(f"pictures/{n}.npz" for n in "ab")):
        (run / name).unlink()
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "There is no rows.jsonl" in page.text
    assert "saved no pictures" in page.text


def test_skipped_steps_are_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", objects=("a",))
    with (run / "log.jsonl").open("a") as file:
        file.write(json.dumps({"step": 121, "loss": None, "skipped": {"no usable pair": 1}}) + "\n")
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "no usable pair" in page.text


def test_large_pictures_are_shrunk_until_the_page_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", objects=("a", "b"))
    full = len(write_report(run).read_text(encoding="utf-8"))
    monkeypatch.setattr("equiview.report.page.MAX_BYTES", full - 1)
    assert len(write_report(run).read_text(encoding="utf-8")) < full


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("summary.json", None, "summary.json"),
        ("summary.json", "{", "does not parse"),
        ("summary.json", "[]", "expected an object"),
        ("summary.json", '{"metrics": {"ape": {"value": 1}}}', "pcdp@0.05"),
        ("summary.json", '{"before": {}}', "after"),
        ("rows.jsonl", '{"object": "a"}\n', "rows.jsonl:1"),
        ("rows.jsonl", "nonsense\n{}\n", "rows.jsonl:1"),
        ("pictures/a.npz", "not a zip", "a.npz"),
        ("adapter/equiview.json", "{", "equiview.json"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    run = write_run(tmp_path / "run", objects=("a",))
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    with pytest.raises(EquiviewError, match=re.escape(said)):
        write_report(run)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    run = write_measured(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary["metrics"]["ape"]["value"] = float("nan")
    (run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(EquiviewError, match="ape"):
        write_report(run)


def test_picture_without_an_array_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", objects=("a",))
    np.savez(run / "pictures" / "a.npz", rgb0=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(EquiviewError, match="rgb1"):
        write_report(run)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EquiviewError, match="nowhere"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"retention.html": ""}, "Open "),
        ({"study.html": ""}, "study.html"),
        ({"adapter/equiview.json": "{}", "run.json": '{"train_objects": ["a"]}'}, "an adapter that was not measured"),
        ({"run.json": '{"train_objects": ["a"], "test_objects": ["b"]}'}, "Let the run finish"),
    ],
)
def test_the_folder_of_another_command_is_told_from_an_unfinished_run(files, said, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(EquiviewError, match=said):
        read_run(tmp_path)
