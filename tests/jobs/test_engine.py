"""Engines: the same results from this process, from several, and from Ray; workers may die."""

import sys
from functools import partial

import pytest

from equiview.errors import EquiviewError
from equiview.io import read_json, read_jsonl
from equiview.jobs.engine import LOCAL, Engine, parse_engine, run_units
from equiview.jobs.scoring import WorkItem, all_rows, finish_items, rows_path
from equiview.jobs.workers import WorkerDied
from jobs.engine_work import always_killed, killed_once, refuses, rows_of, square

TWO = Engine("process", 2)


def items_of(out, work, broken=False):
    return [
        WorkItem(rows_path(out, str(n)), partial(work, n), out / "broken" / f"{n}.json" if broken else None)
        for n in range(4)
    ]


def test_engines_are_read():
    assert parse_engine() == LOCAL and parse_engine("process:3") == Engine("process", 3)
    assert parse_engine("local", "2/5").share("abcdefg", "letters") == ["b", "g"]
    shares = [parse_engine("local", f"{i}/3").share(range(8), "numbers") for i in (1, 2, 3)]
    assert sorted(sum(shares, [])) == list(range(8))
    with pytest.raises(EquiviewError, match="at most as many as there are letters, found 4 of 2"):
        parse_engine("local", "1/4").share("ab", "letters")


@pytest.mark.parametrize(
    ("engine", "shard"),
    [("process", None), ("process:0", None), ("process:x", None), ("ray:", None), ("dask", None), ("", None)]
    + [("local", one) for one in ("0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", "/")],
)
def test_what_is_no_engine_is_refused(engine, shard):
    with pytest.raises(EquiviewError, match="--shard: expected i/n" if shard else "--engine: expected local"):
        parse_engine(engine, shard)


def test_a_single_unit_has_no_engine():
    with pytest.raises(EquiviewError, match="--engine, --shard: expected a data set, found a single unit"):
        parse_engine("process:2", many=False)
    assert parse_engine(many=False) == LOCAL


def test_ray_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EquiviewError, match=r"--engine ray: expected the package ray.*equiview\[ray\]"):
        parse_engine("ray:head:6379")


def test_a_killed_worker_costs_its_unit_only_and_rows_are_those_of_one_process(tmp_path, caplog):
    finish_items(alone := items_of(tmp_path / "alone", rows_of))
    seen, out = [], tmp_path / "two"
    items = items_of(out, partial(killed_once, tmp_path / "killed"))
    finish_items(items, lambda *at: seen.append(at), TWO, log=out / "units.jsonl")
    assert (tmp_path / "killed").exists() and "a worker died (killed by SIGKILL" in caplog.text
    assert [path.path.read_bytes() for path in items] == [path.path.read_bytes() for path in alone]
    assert seen == [(n, 4) for n in range(5)]
    log = read_jsonl(out / "units.jsonl")
    assert sorted(line["unit"] for line in log) == ["0", "1", "2", "3"] and all(line["seconds"] >= 0 for line in log)
    # What is finished is not done again, whatever the engine.
    times = [item.path.stat().st_mtime_ns for item in items]
    items[3].path.unlink()
    finish_items(items, engine=LOCAL)
    assert [item.path.stat().st_mtime_ns for item in items[:3]] == times[:3] and all_rows(items) == all_rows(alone)


def test_a_unit_that_always_kills_is_an_error_or_a_broken_one(tmp_path):
    with pytest.raises(WorkerDied, match="died 2 times on unit 2: killed by SIGKILL.*Run the same command again"):
        finish_items(items_of(tmp_path / "strict", always_killed), engine=Engine("process", 1))
    items = items_of(tmp_path / "listed", always_killed, broken=True)
    finish_items(items, engine=Engine("process", 1))
    assert [item.done for item in items] == [True, False, True, True]
    assert "killed by SIGKILL" in read_json(items[1].broken)["problem"]


def test_an_error_in_a_worker_is_the_error_of_the_run():
    with pytest.raises(EquiviewError, match="unit 7: expected one that works"):
        list(run_units(refuses, [7], Engine("process", 1)))
    with pytest.raises(EquiviewError, match="--engine process: expected features that can be pickled"):
        list(run_units(lambda unit: unit, [7], Engine("process", 1)))


def test_ray_gives_the_same(tmp_path):
    """With a worker killed in the middle; where ray is installed."""
    pytest.importorskip("ray")
    finish_items(alone := items_of(tmp_path / "alone", rows_of))
    items = items_of(tmp_path / "ray", partial(killed_once, tmp_path / "killed"))
    finish_items(items, engine=parse_engine("ray"))
    assert (tmp_path / "killed").exists() and all_rows(items) == all_rows(alone)


def test_broken_units_are_noted_and_the_others_go_on(tmp_path):
    items = items_of(tmp_path, refuses, broken=True)
    finish_items(items, log=tmp_path / "units.jsonl")
    assert "expected one that works" in read_json(items[0].broken)["problem"]
    assert len(read_jsonl(tmp_path / "units.jsonl")) == 4
    mended = WorkItem(items[0].path, partial(rows_of, 0), items[0].broken)
    finish_items([mended])
    assert mended.done and not mended.broken.exists()


def test_results_have_their_numbers():
    assert sorted(run_units(square, [3, 1, 2])) == [(0, 9), (1, 1), (2, 4)]
