"""What the pages say can be typed: every command parses, every name is there, and the quick starts run as written."""

import ast
import importlib
import importlib.util
import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import equiview
from bad_inputs import Run
from equiview.cli.app import app
from equiview.render import RenderConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
LARGEST_NOTEBOOK = 1_500_000
"""Bytes: pictures of a few made objects are stored, no more."""
SHORT = {
    "render": ("--size", "96"),
    "match": ("--long-side", "96"),
    "improve": ("--views", "3", "--points", "20", "--set", "features.long_side=96"),
}
"""What is added to a command of the README's quick start here; `make wheel` runs it without."""
NEEDS = {"timm", "transformers", "torch", "numpy", "json"}
"""Packages beside equiview that blocks may import."""


def load_blocks():
    path = ROOT / "scripts" / "code_blocks.py"
    spec = importlib.util.spec_from_file_location("code_blocks", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


code_blocks = load_blocks()


@pytest.fixture
def parse(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line up to the call of the command: exit code, stdout, stderr."""
    run("--version")  # Registers the commands.
    for command in typer.main.get_command(app).commands.values():
        monkeypatch.setattr(command, "callback", lambda **_: None)
    return run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page: Path, parse: Run) -> None:
    """Those in blocks as they are; those in sentences may leave out what is required."""
    text = page.read_text(encoding="utf-8")
    check_commands("\n".join(block.code for block in code_blocks.blocks(text)), text, parse)


def check_commands(code: str, text: str, parse: Run) -> None:
    for words in code_blocks.commands(code):
        status, _, said = parse(*words)
        assert status == 0, (words, said)
    for words in code_blocks.inline_commands(text):
        status, _, said = parse(*words)
        # Completion asks which shell it runs in, and there may be none.
        assert status == 0 or "Missing" in said or words == ["--install-completion"], (words, said)


def test_help_parses(parse: Run) -> None:
    """The examples under `--help` of every command."""
    for name, command in typer.main.get_command(app).commands.items():
        found = code_blocks.commands("\n".join(line.strip() for line in command.epilog.splitlines()))
        assert found, name
        for words in found:
            code, _, said = parse(*words)
            assert code == 0, (words, said)


def test_what_does_not_parse(parse: Run) -> None:
    """An option, a value and a command that are not there, so that the tests above can fail."""
    for words in ("match a b --out c --nosuch", "track a --to nosuch --out c", "nosuch a"):
        [found] = code_blocks.commands(f"equiview {words}  # why")
        code, _, said = parse(*found)
        assert code == 2 and "nosuch" in said and "Missing" not in said


PYTHON = [
    (page.name, block.code)
    for page in PAGES
    for block in code_blocks.blocks(page.read_text())
    if block.language == "python"
]


def check_names(code: str) -> None:
    """Check that Python compiles, imports what is there, and takes public names from equiview."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "equiview":
            assert node.attr in equiview.__all__
        if isinstance(node, ast.Import):
            assert {one.name for one in node.names} <= {"equiview", *NEEDS}
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "equiview":
            module = importlib.import_module(node.module)
            assert all(hasattr(module, one.name) for one in node.names)


@pytest.mark.parametrize("code", [code for _, code in PYTHON], ids=[name for name, _ in PYTHON])
def test_names_in_python_blocks(code: str) -> None:
    check_names(code)


@pytest.mark.parametrize(
    "code", ["import equiview\nequiview.nosuch", "from equiview.types import nosuch", "import nosuch"]
)
def test_names_that_are_not_there(code: str) -> None:
    with pytest.raises(AssertionError):
        check_names(code)


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda script: script.stem)
def test_notebooks_can_be_typed(script: Path, parse: Run) -> None:
    """They install the package first; their commands parse, their names are there."""
    text = script.read_text(encoding="utf-8")
    assert re.findall(r"^# %%\n(.*)", text, re.MULTILINE)[0].startswith("# %pip install --quiet")
    assert f"/blob/main/notebooks/{script.stem}.ipynb)" in text.split("# %%")[1]
    check_names(text)
    shell_and_text = re.sub(r"^# !?", "", text, flags=re.MULTILINE)
    check_commands(shell_and_text, shell_and_text, parse)


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda script: script.stem)
def test_notebooks_are_their_scripts(script: Path) -> None:
    """`make notebooks` ran every cell of the script as it is now, none failed, and what is stored is small."""
    path = script.with_suffix(".ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert percent_script(cells) == script.read_text(encoding="utf-8")
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert outputs and not any(output["output_type"] == "error" for output in outputs)
    assert path.stat().st_size < LARGEST_NOTEBOOK


def percent_script(cells: list[dict[str, Any]]) -> str:
    """Write cells as jupytext's py:percent, where text and magics are comments."""
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append("# %% [markdown]\n" + "".join(f"# {line}".rstrip() + "\n" for line in text.split("\n")))
        else:
            parts.append("# %%\n" + re.sub(r"^(?=[!%])", "# ", text, flags=re.MULTILINE) + "\n")
    return "\n".join(parts)


def test_the_site_has_every_page_and_every_name() -> None:
    """`make docs` says the same of pages and much more; it is not run here."""
    pages = {str(path.relative_to(ROOT / "docs")) for path in PAGES if path.is_relative_to(ROOT / "docs")}
    listed = set(re.findall(r"([\w/]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    tutorials = {f"notebooks/{script.stem}.ipynb" for script in NOTEBOOKS}
    assert listed == pages | tutorials | {"index.md", "changelog.md", "contributing.md"}
    names = re.findall(r"^::: equiview\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted([*names, "__version__"]) == sorted(equiview.__all__)


@pytest.fixture
def small_and_offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a block asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("equiview.data.meshes.RenderConfig", lambda: RenderConfig(hw=(96, 96)))
    yield


@pytest.mark.usefixtures("small_and_offline", "small_paint", "undrawn")
def test_quick_start_runs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block in its order, in one folder, with fewer and smaller pictures."""
    monkeypatch.chdir(tmp_path)
    ran = []
    for block in code_blocks.blocks(code_blocks.section((ROOT / "README.md").read_text(), code_blocks.QUICK_START)):
        if block.language == "python":
            exec(compile(block.code, "README.md", "exec"), names := {})
            assert names["maps"].shape[0] == 2 and names["points"].shape[:2] == (1, 1)
            ran.append("python")
        for words in code_blocks.commands(block.code):
            code, _, said = run(*words, *SHORT.get(words[0], ()), "--quiet")
            assert code == 0, said
            ran.append(words[0])
    assert ran == ["render", "match", "improve", "python"]
    assert all((tmp_path / name).is_file() for name in ("runs/match/matches.png", "runs/mug/report.html"))


def test_the_quick_start_as_a_script() -> None:
    """What `scripts/smoke.sh` runs: the same lines, Python between them, nothing installed."""
    script = code_blocks.as_script(
        code_blocks.blocks("```sh\npip install .\nequiview a \\\n  b\n```\n\n```python\nx = 1\n```\n")
    )
    assert script == "equiview a \\\n  b\npython - <<'PYTHON'\nx = 1\nPYTHON\n"
