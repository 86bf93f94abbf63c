"""The shape of the house: imports go down, files and functions stay small, nothing refers to what a reader lacks."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "equiview"
FILES = sorted(SOURCE.rglob("*.py"))

# From the bottom up; a module may import from the layers before its own, and from its own room. Rooms of one layer do
# not know each other (`tasks` and `finetune`, for example). The longest name that fits a module is its room.
LAYERS = (
    ("errors",),
    ("limits",),
    ("records", "types", "pictures", "schema", "version"),
    ("io", "stats", "cache"),
    ("geometry", "sampling", "hub"),
    ("model_card",),
    ("render",),
    ("data.safe_pickle", "data.letterbox", "data.names"),
    ("data.synthetic", "data.captures", "data.keypoints", "data.clips"),
    ("data.correspond", "data.ambiguity", "data.meshes"),
    ("data.sfm", "data.identity"),
    ("data.open",),
    ("data",),
    ("models.fixed_heads",),
    ("models.backbones", "models.heads", "models.exported_model"),
    ("models.adapters.proof", "models.adapters.record"),
    ("models.adapters.lora",),
    ("models.adapters.saving",),
    ("models.extractor",),
    ("models.adapters", "models.oracle"),
    ("models.loading", "models.importer"),
    ("models.export",),
    ("models.timm_export",),
    ("models",),
    ("metrics",),
    ("matching.nearest", "matching.localise"),
    ("matching.match",),
    ("matching.refine",),
    ("matching.transfer", "matching.tracking", "matching.pose"),
    ("matching",),
    ("formats",),
    ("tasks", "finetune"),
    ("draw",),
    ("jobs",),
    ("report",),
    # The jobs that write pages and cards of what is there already.
    ("jobs.report", "jobs.view", "jobs.push"),
    ("cli",),
)
LEVEL = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
NO_MODELS = {"torch", "transformers", "peft", "embreex"}


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Return everything in a file's syntax tree; each file is parsed once for all tests."""
    return list(ast.walk(ast.parse(path.read_text())))


def room_of(parts: tuple[str, ...]) -> str:
    """Return the room of a module: ("render", "gl") is in `render`, ("data", "sfm", "align") in `data.sfm`."""
    for length in (3, 2, 1):
        if ".".join(parts[:length]) in LEVEL:
            return ".".join(parts[:length])
    return parts[0]


def module_of(path: Path, source: Path = SOURCE) -> tuple[str, ...]:
    parts = path.relative_to(source).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def modules_used(path: Path) -> set[tuple[str, ...]]:
    """Return the modules of this package, two names deep, that a command's file imports."""
    nodes = [n for n in nodes_of(path) if isinstance(n, ast.ImportFrom) and n.level == 2]
    return {tuple((node.module or "").split("."))[:2] for node in nodes}


def imported(path: Path, source: Path = SOURCE) -> list[tuple[str, int]]:
    """Return the rooms a file imports from, with the line; imports in functions and for type checkers count too."""
    package = ("equiview", *path.relative_to(source).parts[:-1])
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = (*start, *(node.module or "").split("."))
            modules = [(*module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        for name in modules:
            parts = tuple(part for part in name if part)
            if parts[0] == "equiview" and len(parts) > 1 and parts[1] != "__version__":
                found.append((room_of(parts[1:]), node.lineno))
    return found


def wrong_imports(path: Path, source: Path = SOURCE) -> list[str]:
    room = room_of(module_of(path, source))
    return [
        f"{path.name}:{line}: {room} imports {other}"
        for other, line in imported(path, source)
        if other != room and LEVEL.get(other, len(LEVEL)) >= LEVEL[room]
    ]


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != SOURCE or p.name != "__init__.py"], ids=str)
def test_imports_go_down(path):
    """Of every file; since each layer imports only from those before it, this holds for what they import in turn."""
    assert wrong_imports(path) == []


def test_the_check_sees_a_wrong_import(tmp_path):
    (tmp_path / "types.py").write_text("def f():\n    from .models.extractor import Extractor\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "x.py").write_text("from ..finetune.train import train\nfrom equiview.types import View\n")
    assert wrong_imports(tmp_path / "types.py", tmp_path) == ["types.py:2: types imports models.extractor"]
    assert wrong_imports(tmp_path / "tasks" / "x.py", tmp_path) == ["x.py:1: tasks imports finetune"]


def test_every_room_has_a_layer():
    rooms = {room_of(module_of(path)) for path in FILES if module_of(path)}
    assert rooms == set(LEVEL)


def test_every_command_has_its_job():
    """`cli/X.py` reads options and calls `jobs/X.py`; what they share is named here."""
    shared = {"__init__", "app", "common", "options", "feature_options", "progress"}
    commands = {path.stem for path in (SOURCE / "cli").glob("*.py")} - shared
    jobs = {path.stem for path in (SOURCE / "jobs").iterdir()} - {"__init__", "__pycache__"}
    assert commands <= jobs
    for name in commands:
        rooms = {module for module in modules_used(SOURCE / "cli" / f"{name}.py")}
        assert any(module[:2] == ("jobs", name) for module in rooms), f"cli/{name}.py does not call jobs/{name}.py"


def test_the_report_loads_no_model_library():
    """A page can be made from a run's files where no model can run: no module of the room loads one."""
    pages = ", ".join(".".join(("equiview", *module_of(path))) for path in FILES if path.parent.name == "report")
    code = f"import sys, {pages}; print([m for m in {sorted(NO_MODELS)!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_sampling_calls_grid_sample():
    users = [path.name for path in FILES if "grid_sample" in called(path)]
    assert users == ["sampling.py"]


def test_only_pictures_opens_pictures():
    """Pillow's own `open` takes formats that start other programs, and files of any size."""
    users = [
        path.name for path in FILES if re.search(r"\bImage\.open\(|imread\(|from PIL.Image import", path.read_text())
    ]
    assert users == ["pictures.py"]


def test_the_library_never_prints():
    assert [path.name for path in FILES if "print" in bare_calls(path)] == []


def called(path: Path) -> set[str]:
    """Return every name that is called or handed on as an attribute."""
    return {n.attr for n in nodes_of(path) if isinstance(n, ast.Attribute)} | bare_calls(path)


def bare_calls(path: Path) -> set[str]:
    return {n.func.id for n in nodes_of(path) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where = f"{path.name}:{node.lineno} {node.name}"
            assert node.end_lineno - node.lineno + 1 <= 60, where
            # The command line's arguments are its options; there the number says nothing about the code.
            if module_of(path)[:1] != ("cli",):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                assert len([a for a in arguments if a.arg not in ("self", "cls")]) <= 9, where


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_broad_except(path):
    """A failure is a clear message or a traceback, never a silent default."""
    for node in nodes_of(path):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            ends_in_raise = isinstance(node.body[-1], ast.Raise)
            assert not broad or ends_in_raise, f"{path.name}:{node.lineno}"


UNREACHABLE = re.compile(r"(METHOD|DESIGN|ECOSYSTEM)\.md|golden/README|(?<![\w.])/(work|tmp/v|root|home)\b")


def test_nothing_refers_to_files_a_reader_does_not_have():
    folders = ("src", "docs", "tests", "examples", "benchmarks")
    texts = [p for f in folders for p in (ROOT / f).rglob("*") if p.suffix in (".py", ".md", ".css", ".json")]
    texts += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNREACHABLE.search(line)
    ]
    assert found == []
