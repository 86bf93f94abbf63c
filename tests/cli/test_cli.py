"""The command line: help, exit codes, clean JSON, lists, and that nothing heavy is imported for the help."""

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from equiview import __version__
from equiview.cli import main
from equiview.cli.app import ORDER, spread_lists, to_front
from equiview.cli.common import parse_settings
from equiview.cli.feature_options import parse_blocks
from equiview.cli.improve import recipe_and_budget
from equiview.cli.options import seconds_or_none
from equiview.cli.progress import StageProgress
from equiview.errors import EquiviewError
from equiview.finetune.closed_form import ClosedFormConfig
from equiview.finetune.recipes import get_recipe
from equiview.jobs.feature_options import resolve_device
from equiview.version import commit
from report.make_run import write_run

Run = Callable[..., tuple[int, str, str]]


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def fake_demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("equiview.jobs.demo")
    module.RECIPE = "one-step"
    monkeypatch.setitem(sys.modules, "equiview.jobs.demo", module)
    return module


def writes_a_run(out: Path, **_: Any) -> dict[str, Any]:
    write_run(out, objects=("a", "b"), notes=("A tiny random network stands in for a backbone.",))
    return json.loads((out / "summary.json").read_text())


def raises(error: BaseException) -> Callable[..., None]:
    def call(*_: Any, **__: Any) -> None:
        raise error

    return call


def test_help_lists_every_command_in_order(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    listed = [
        line.split()[0] for line in out.split("Commands:")[1].splitlines() if line.startswith("  ") and line[2] != " "
    ]
    assert tuple(listed[: len(ORDER)]) == ORDER


@pytest.mark.parametrize("name", ORDER)
def test_every_command_has_an_example(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"equiview {name} " in out.split("Examples:")[1] or name == "demo"
    # These two say what is there, and write nothing.
    assert "--json" in out and ("--out" in out or name in ("data", "protocols"))


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['equiview', 'improve', '--help']\n"
        "from equiview.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'matplotlib', 'scipy', 'numpy', 'PIL'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(run: Run) -> None:
    code, out, err = run("--version")
    assert (code, err) == (0, "")
    found = commit()
    assert out == (f"equiview {__version__}\n" if found is None else f"equiview {__version__} (commit {found})\n")


def test_completion_knows_commands_and_options(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_EQUIVIEW_COMPLETE", "complete_bash")
    for words, expected in (("equiview mea", "measure"), ("equiview export --st", "--strength")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        assert run()[1].split() == [expected]


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("report",), ("measure", "--bogus"), ("demo", "--seed", "-1"), ("demo", "--seed", "x")]
)
def test_wrong_usage_is_exit_2(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == "" and "Error" in err


def test_bad_input_is_one_message_and_exit_2(run: Run, tmp_path: Path) -> None:
    code, out, err = run("report", str(tmp_path / "nowhere"))
    assert code == 2
    assert out == ""
    assert "nowhere: expected the folder of a run, found nothing there." in err
    assert "Traceback" not in err


def test_brackets_in_a_message_are_not_markup(run: Run, fake_demo: ModuleType) -> None:
    fake_demo.run_demo = raises(EquiviewError("objects [red] and [/] are gone"))
    assert "objects [red] and [/] are gone" in run("demo")[2]


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["equiview", "report", str(tmp_path / "nowhere"), "--debug"])
    with pytest.raises(EquiviewError):
        main()


def test_ctrl_c_is_130_and_says_how_to_go_on(run: Run, fake_demo: ModuleType, tmp_path: Path) -> None:
    fake_demo.run_demo = raises(KeyboardInterrupt())
    code, out, err = run("demo", "--out", str(tmp_path / "my demo"))
    assert code == 130
    assert out == ""
    assert f"equiview demo --out '{tmp_path / 'my demo'}'" in err


def test_full_disk_is_one_message(run: Run, fake_demo: ModuleType) -> None:
    fake_demo.run_demo = raises(OSError(errno.ENOSPC, "No space left on device"))
    code, _, err = run("demo")
    assert code == 2
    assert "disk is full" in err and "Traceback" not in err


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, fake_demo: ModuleType) -> None:
    fake_demo.run_demo = raises(ZeroDivisionError())
    monkeypatch.setattr(sys, "argv", ["equiview", "demo"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_demo_gives_json_and_nothing_else(run: Run, fake_demo: ModuleType, tmp_path: Path) -> None:
    fake_demo.run_demo = writes_a_run
    code, out, _ = run("demo", "--out", str(tmp_path / "demo"), "--json", "--device", "cpu")
    result = json.loads(out)
    assert code == 0
    assert result["command"] == "demo"
    assert result["summary"]["after"]["metrics"]["ape"]["n"] == 2
    assert all(Path(path).exists() for path in result["wrote"])


def test_demo_in_words(run: Run, fake_demo: ModuleType, tmp_path: Path) -> None:
    fake_demo.run_demo = writes_a_run
    code, out, _ = run("demo", "--out", str(tmp_path / "demo"), "--quiet")
    assert code == 0
    assert "A tiny random network stands in for a backbone." in " ".join(out.split())
    assert "Adapted" in out and "[bold]" not in out and "[dim]" not in out
    assert f"Wrote {tmp_path / 'demo' / 'report.html'}" in out


def test_improve_passes_everything_on(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = SimpleNamespace()

    def improve(
        backbone: str, train: list[str], test: list[str], out: Path, config: Any, progress: Any, _: Any
    ) -> dict:
        seen.backbone, seen.train, seen.test, seen.config = backbone, train, test, config
        progress("render", 1, 2)
        return writes_a_run(out)

    monkeypatch.setattr(importlib.import_module("equiview.jobs.improve"), "improve", improve)
    words = "improve --backbone b --train-object x.glb y.glb --test-objects a.glb b.glb --recipe wiener --seed 3"
    words += " --set closed_form.c=2 --views 5 --points 7 --budget 9 --device cpu --json"
    code, out, _ = run(*words.split(), "--out", str(tmp_path / "run"))
    assert code == 0, out
    assert (seen.backbone, seen.train, seen.test) == ("b", ["x.glb", "y.glb"], ["a.glb", "b.glb"])
    config = seen.config
    assert (config.views, config.points, config.budget_s, config.seed, config.device) == (5, 7, 9.0, 3, "cpu")
    assert config.recipe.name == "wiener" and config.recipe.stage(ClosedFormConfig).c == 2
    assert json.loads(out)["command"] == "improve"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--recipe", "magic"), "magic"),
        (("--set", "stepz=3"), "stepz"),
        (("--set", "steps"), "key=value"),
        (("--device", "cuda:99"), "cuda:99"),
        (("--device", "toaster"), "toaster"),
    ],
)
def test_improve_refuses_what_it_does_not_know(run: Run, tmp_path: Path, extra: tuple[str, ...], said: str) -> None:
    base = ("improve", "-b", "x", "--train-object", "t", "--test-objects", "s", "--out", str(tmp_path / "o"))
    code, out, err = run(*base, *extra)
    assert code == 2 and out == ""
    assert said in err and "Traceback" not in err


def test_report_writes_where_it_says(run: Run, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", objects=("a",))
    code, out, _ = run("report", str(folder), "--out", str(tmp_path / "page.html"), "--json")
    assert code == 0
    assert json.loads(out)["wrote"] == [str(tmp_path / "page.html")]
    assert (tmp_path / "page.html").is_file()


def test_list_options_take_several_words() -> None:
    given = ["measure", "--objects", "a", "b", "--out", "o", "--set", "x=1", "y=2", "--json"]
    assert spread_lists(given) == [
        "measure",
        "--objects",
        "a",
        "--objects",
        "b",
        "--out",
        "o",
        "--set",
        "x=1",
        "--set",
        "y=2",
        "--json",
    ]
    assert spread_lists(["render", "mug.glb", "--out", "o"]) == ["render", "mug.glb", "--out", "o"]
    assert spread_lists(["measure", "--objects"]) == ["measure", "--objects"]


def test_global_flags_may_stand_anywhere() -> None:
    assert to_front(["demo", "--quiet", "--out", "x"]) == ["--quiet", "demo", "--out", "x"]
    assert to_front(["render", "--", "--quiet"]) == ["render", "--", "--quiet"]


def test_blocks_and_settings() -> None:
    assert parse_blocks(None) is None
    assert parse_blocks("4, 6,8") == (4, 6, 8)
    assert parse_settings(["a=1", "b.c=x=y"]) == {"a": "1", "b.c": "x=y"}
    for text in ("", "0", "4;6", "last", "-1", "4,"):
        with pytest.raises(EquiviewError, match="--blocks"):
            parse_blocks(text)
    with pytest.raises(EquiviewError, match="--set"):
        parse_settings(["=1"])


def test_device_auto_is_one_that_exists() -> None:
    assert resolve_device("auto") in ("cpu", "cuda")
    assert resolve_device("cpu") == "cpu"


def test_overall_progress_is_the_weighted_share() -> None:
    with StageProgress({"render": 1, "score": 3}) as progress:
        assert progress.share() == 0
        progress("render", 1, 2)
        assert progress.share() == pytest.approx(0.125)
        progress("render", 2, 2)
        progress("other", 5, 5)
        progress("score", 1, 3)
        assert progress.share() == pytest.approx(0.5)
        progress("score", 0, 0)
    assert StageProgress().overall is None


def test_a_full_card_is_a_message_and_other_runtime_errors_are_not_hidden() -> None:
    from equiview.cli.common import environment_message

    assert "not enough memory" in str(environment_message(torch.OutOfMemoryError("CUDA out of memory")))
    assert environment_message(RuntimeError("a bug of ours")) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("match", "a.png", "b.png", "--check-px", "inf", "--out", "o"), "--check-px: expected a finite number"),
        (("match", "a.png", "b.png", "--check-px", "nan", "--out", "o"), "--check-px: expected a finite number"),
        (("match", "a\nb.png", "b.png", "--out", "o"), "printable text"),
        (("measure", "-b", "x", "--objects", "a\0b", "--out", "o"), "printable text"),
        (("measure", "-b", "x\udcff", "--objects", "a", "--out", "o"), "printable text"),
        (("measure", "-b", "x", "--objects", "a", "--out", "o", "--views", "1000000000"), "--views"),
        (("measure", "-b", "x", "--objects", "a", "--out", "o", "--points", "1000000000"), "--points"),
        (("measure", "-b", "x", "--objects", "a", "--out", "o", "--dtype", "float64"), "--dtype"),
        (("render", "builtin:mug", "--out", "o", "--size", "12000"), "--size"),
        (("render", "builtin:mug", "--out", "o", "--rig", "cube"), "--rig"),
        (("track", "c.mp4", "-b", "x", "--out", "o", "--smoothing", "1000000001"), "--smoothing"),
        (("track", "c.mp4", "-b", "x", "--out", "o", "--queries", "none"), "--queries"),
        (("finetune", "-b", "x", "--train-object", "a", "--out", "o", "--set", "batch=1e9"), "--set batch"),
        (("finetune", "-b", "x", "--train-object", "a", "--out", "o", "--budget", "inf"), "--budget"),
        (
            ("improve", "-b", "x", "--train-object", "a", "--test-objects", "b", "--out", "o", "--set", "lr=nan"),
            "--set lr",
        ),
    ],
)
def test_absurd_options_are_one_message(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = run(*arguments)
    assert code == 2 and words in " ".join(stderr.split()) and stdout == "" and not (tmp_path / "o").exists()
    assert "Traceback" not in stderr


def test_sigterm_is_143_and_says_how_to_go_on(
    run: Run, fake_demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(out: Path, **_: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        raise AssertionError("SIGTERM was not heeded")

    before = signal.getsignal(signal.SIGTERM)
    fake_demo.run_demo = stopped
    code, stdout, stderr = run("demo", "--out", tmp_path)
    assert code == 143 and stdout == "" and "the same command resumes it" in stderr
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("typed", "seconds"), [("9", 9.0), ("0", 0.0), ("none", None), ("None", None)])
def test_a_budget_is_seconds_or_none_which_takes_the_recipe_s_away_too(typed: str, seconds: float | None) -> None:
    recipe, _, budget_s = recipe_and_budget("default", None, seconds_or_none(typed))
    assert budget_s == seconds and (recipe.time_budget_s is None) == (seconds is None)
    assert recipe_and_budget("default", None, None) == (get_recipe("default"), {}, None)


@pytest.mark.parametrize("typed", ["-1", "nan", "inf", "ten", ""])
def test_a_budget_that_is_neither_is_refused(run: Any, tmp_path: Path, typed: str) -> None:
    words = ("finetune", "-b", "b", "--train-object", "builtin:mug", "--budget", typed)
    code, _, err = run(*words, "--out", str(tmp_path / "run"))
    assert code == 2 and "0 or more, or none" in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()
