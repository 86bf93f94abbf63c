"""Work that is interrupted and goes on: what is on disk is never done again, and never half there."""

import json

import pytest

from equiview.io import read_jsonl
from equiview.jobs.scoring import WorkItem, all_rows, finish_items, rows_path


def test_a_stopped_run_goes_on_behind_the_last_finished_item(tmp_path):
    done, seen = [], []

    def work(name):
        done.append(name)
        if name == "b" and done.count("b") == 1:
            raise KeyboardInterrupt
        return [{"name": name}]

    items = [WorkItem(rows_path(tmp_path, name), lambda name=name: work(name)) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        finish_items(items)
    assert [path.name for path in (tmp_path / "rows").iterdir()] == ["a.jsonl"]
    finish_items(items, lambda *count: seen.append(count))
    assert done == ["a", "b", "b", "c"] and seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert all_rows(items) == [{"name": name} for name in "abc"]


def test_a_record_is_json_and_nothing_is_written_for_nothing(tmp_path):
    finish_items([WorkItem(tmp_path / "a.json", lambda: {"x": 1}), WorkItem(tmp_path / "b.json", lambda: None)])
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1} and not (tmp_path / "b.json").exists()


def test_rows_stay_below_their_folder(tmp_path):
    path = rows_path(tmp_path / "run", "../x", "/abs/y")
    finish_items([WorkItem(path, lambda: [{"a": 1}])])
    assert read_jsonl(path) == [{"a": 1}]
    assert [one.name for one in tmp_path.iterdir()] == ["run"]
    assert path.resolve().is_relative_to(tmp_path / "run" / "rows")
