"""Fixtures every test may use."""

import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import jaxtyping
import pytest
import torch
import typer.main
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook
from markupsafe import Markup

torch.set_num_threads(1)
# That a machine is busy is no fault of what is tested.
settings.register_profile("equiview", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("equiview")
# One process runs hundreds of commands: the command line is put together once.
typer.main.get_command = lru_cache(typer.main.get_command)

# Shapes and types in the signatures of these modules are checked at every call of the tests in all rooms but COMMANDS.
# There whole commands run, whose thousands of calls are those that the rooms below test: checks were a fifth of the
# time. Not `geometry`: numpy turns an array without dimensions into a number, which has no shape to check. Not `types`
# and `matching.localise`: they check themselves, and their own messages are tested.
CHECKED = ("sampling", "data.correspond", "matching.nearest", "matching.match", "metrics.equivariance")
COMMANDS = ("cli", "jobs", "report", "test_bad_input.py", "test_bad_values.py", "test_fuzz.py")
if importlib.util.find_spec("beartype"):
    install_import_hook([f"equiview.{name}" for name in CHECKED], "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """What equiview keeps for other runs is kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    room = item.path.relative_to(Path(__file__).parent).parts[0]
    jaxtyping.config.update("jaxtyping_disable", room in COMMANDS)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder EQUIVIEW_SHARED names (real weights, data, golden values)."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("EQUIVIEW_SHARED", default))
    if not (folder / "golden" / "INDEX.json").is_file():
        pytest.skip(f"EQUIVIEW_SHARED: no golden/INDEX.json in {folder}")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    return shared / "golden"


@pytest.fixture(scope="session")
def deit_tiny(shared: Path) -> Path:
    return shared / "data" / "weights" / "deit-tiny-patch16-224"


@pytest.fixture(scope="session")
def timm():
    """timm, from where it is installed or from the folder `timm` beside the environment's packages.

    timm needs torchvision's Python code only. PyPI's torchvision beside a CPU build of torch lacks two compiled
    operators, which breaks `transformers` too; so it is kept off the path of everything but the tests that ask for it,
    and the two operators are declared.
    """
    apart = Path(sys.prefix) / "timm"
    if importlib.util.find_spec("timm") is None and apart.is_dir():
        sys.path.append(str(apart))
        if not hasattr(torch.ops.torchvision, "nms"):
            library = torch.library.Library("torchvision", "DEF")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            KEPT.append(library)
    return pytest.importorskip("timm", reason="the timm extra is not installed", exc_type=(ImportError, RuntimeError))


KEPT: list[torch.library.Library] = []
"""The operators of a library go when it is collected."""


@pytest.fixture
def small_paint(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Objects made at run time with a sixteenth of the texels: painting takes most of the time, shapes stay."""
    from equiview.data import identity
    from equiview.data.synthetic import builtin, household, procedural

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # Looks are kept there.
    looks = (identity._mesh_look, identity._made_look)
    kept = (builtin.builtin_mesh, household.household_mesh, procedural.procedural_mesh, *looks)
    for module in (household, procedural):
        for name in ("_TEXTURE", "_BODY_ROWS"):
            monkeypatch.setattr(module, name, getattr(module, name) // 4)
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Leave the curves of reports empty, for tests of what else a command does: they take half of its time."""
    from equiview.report import sections
    from equiview.report.figures import Chart

    with pytest.MonkeyPatch.context() as patch:
        for name in ("angle_figure", "objects_figure", "training_figure"):
            patch.setattr(sections, name, lambda *_: Chart("0 0 1 1", 1, "not drawn", Markup("")))
        yield


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command line in this process: exit code, stdout, stderr."""
    from bad_inputs import caller

    return caller(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def package_logger_as_imported():
    """Undo what a command of the same process did to the package's logger, so that caplog sees every message.

    Before each test, because fixtures of a whole module run commands too.
    """
    logger = logging.getLogger("equiview")
    logger.propagate, logger.handlers = True, []
    logger.setLevel(logging.NOTSET)
