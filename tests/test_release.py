"""What is released says the same in every file, and the package knows which commit it is."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import equiview
from equiview.version import COMMIT_FILE, commit

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_one_version() -> None:
    assert PROJECT["version"] == equiview.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == equiview.__version__


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_what_is_there(path: Path) -> None:
    """Make targets, scripts and jobs that are waited for; the oldest tested Python is the oldest allowed."""
    jobs = yaml.safe_load(path.read_text())["jobs"]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in jobs.values():
        assert {job["needs"]} <= jobs.keys() if "needs" in job else True
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert set(re.findall(r"\bmake (\w+)", step.get("run", ""))) <= targets
            assert all((ROOT / name).is_file() for name in re.findall(r"scripts/\S+", step.get("run", "")))
    if path.name == "ci.yml":
        assert f">={jobs['test']['strategy']['matrix']['python'][0]}" == PROJECT["requires-python"]


def test_the_image_asks_for_extras_that_are_there() -> None:
    text = (ROOT / "Dockerfile").read_text()
    extras = {name for names in re.findall(r"EXTRAS=(\S+)", text) for name in names.split(",")} | {"gl"}
    assert extras <= PROJECT["optional-dependencies"].keys()
    assert {"cpu", "cuda"} <= set(re.findall(r"^FROM \S+ AS (\w+)", text, re.MULTILINE))


def test_the_docs_are_built_with_their_extra() -> None:
    [listed] = re.findall(r"^\t\$\(PIP\) (mkdocs.*?)  #", (ROOT / "Makefile").read_text(), re.MULTILINE)
    extra = [re.split("[<>=]", one)[0] for one in PROJECT["optional-dependencies"]["docs"]]
    assert listed.replace("'", "").split() == extra


def test_a_bug_report_asks_for_the_doctor() -> None:
    body = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text())["body"]
    asked = {one["id"]: one for one in body}
    assert "equiview doctor --json" in asked["doctor"]["attributes"]["label"]
    assert asked["doctor"]["validations"]["required"]


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    command = ["git", *identity, "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_a_checkout_and_of_a_build(tmp_path: Path) -> None:
    package = tmp_path / "src" / "equiview"
    package.mkdir(parents=True)
    assert commit(package) is None
    git(tmp_path, "init", "-q")
    (package / "a.py").write_text("1")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(package) == head
    (package / "a.py").write_text("2")
    assert commit(package) == f"{head}-dirty"
    # An environment that lies in somebody's repository is no checkout of equiview.
    elsewhere = Path(shutil.copytree(package, tmp_path / "venv" / "packages" / "equiview"))
    assert commit(elsewhere) is None
    (elsewhere / COMMIT_FILE).write_text("abc\n")
    assert commit(elsewhere) == "abc"
