"""Adapters and exports go to a hub and come back from it, over HTTP; whatever is wrong on the way is one message."""

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import equiview
from bad_inputs import Run, check_message, environment, write_adapter
from equiview.errors import EquiviewError
from equiview.models.adapters import load_adapter, set_strength
from equiview.models.backbones import TINY, load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import AverageHead
from hub_server import Hub, Repo, point_to
from models.backbones.tiny import make_model, save
from report.make_run import write_run

IMAGES = torch.rand((1, 3, 40, 56), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_model("vit"), tmp_path_factory.mktemp("models") / "vit")


@pytest.fixture(scope="module")
def adapter(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapters") / "a", vit)


@pytest.fixture(scope="module")
def run_folder(vit: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `improve` whose adapter and features are those of `adapter`."""
    gains = {"pretrained": 0.0, "last_block": -3.0, "adapted": 4.6}
    folder = write_run(tmp_path_factory.mktemp("runs") / "mug", gains=gains)
    shutil.rmtree(folder / "adapter")
    shutil.copytree(adapter, folder / "adapter")
    summary = json.loads((folder / "summary.json").read_text())
    features = load_adapter(adapter, load_backbone(vit)).describe()
    summary["protocol"]["features"] = {key: value for key, value in features.items() if key != "adapter"}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def matter(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def features(name: Path, adapter: Path | str) -> torch.Tensor:
    with torch.no_grad():
        return equiview.load(name, adapter=adapter)(IMAGES)


# There and back ---------------------------------------------------------------------------------------------------


def test_a_run_goes_there_and_its_adapter_comes_back(run: Run, hub: Hub, vit: Path, run_folder: Path) -> None:
    code, out, _ = run("push", run_folder, "me/mug", "--license", "apache-2.0", "--base-model", "some/vit", "--json")
    assert code == 0
    (commit, there), *_ = reversed(hub.repos["me/mug"].commits.items())
    assert json.loads(out) | {"wrote": []} == {
        "command": "push",
        "repo": "me/mug",
        "commit": f"{hub.url}/me/mug/commit/{commit}",
        "wrote": [],
    }
    own = files_of(run_folder / "adapter")
    assert there == {**own, **{name: there[name] for name in ("README.md", "matches.jpg", ".gitattributes")}}

    # Whatever else lies in the repository stays there.
    commit = hub.repos["me/mug"].add({**there, "pytorch_model.bin": b"pickle", "run.py": b"boom", "extra.json": b"{}"})
    loaded = equiview.load(vit, adapter="me/mug")
    assert torch.equal(loaded(IMAGES), features(vit, run_folder))
    assert sorted(hub.fetched) == sorted(own)
    described = loaded.describe()["adapter"]
    assert (described["repo"], described["revision"]) == ("me/mug", commit)


def test_the_card_says_what_the_run_does(run: Run, vit: Path, run_folder: Path, tmp_path: Path) -> None:
    """Without any hub: `--to` needs none."""
    code, out, _ = run("push", run_folder, "me/mug", "--to", tmp_path / "look", "--base-model", "some/vit")
    assert code == 0 and "Wrote" in out
    card = (tmp_path / "look" / "README.md").read_text()
    summary = json.loads((run_folder / "summary.json").read_text())
    top = matter(card)
    assert (top["library_name"], top["base_model"]) == ("equiview", "some/vit")
    assert (top["pipeline_tag"], top["license"]) == ("image-feature-extraction", "other")
    (result,) = top["model-index"][0]["results"]
    assert "5 objects never trained on" in result["dataset"]["name"]
    for one in result["metrics"]:
        entry = summary["after"]["metrics"][one["type"]]
        assert one["value"] == round(entry["value"], 2) and one["args"]["objects"] == entry["n"] == 5
        assert one["args"]["ci95"] == [round(end, 2) for end in entry["ci95"]]
    for metric in summary["controls"]["last_block"]["metrics"].values():
        assert f"| {metric['value']:.2f} ({metric['ci95'][0]:.2f} to {metric['ci95'][1]:.2f}) |" in card
    assert "- trained on: screwdriver" in card and "\\<b\\>&lamp" in card and str(vit.parent) not in card
    with Image.open(tmp_path / "look" / "matches.jpg") as picture:
        assert picture.format == "JPEG" and min(picture.size) > 200
    # What was written is an adapter folder as well.
    assert torch.equal(features(vit, tmp_path / "look"), features(vit, run_folder))
    check_message(run("push", run_folder, "me/mug", "--to", tmp_path / "look"), "a new folder", "another --to")


def test_revisions_are_pinned_and_a_known_commit_is_not_asked_for(hub: Hub, vit: Path, adapter: Path) -> None:
    repo = hub.repos["me/mug"] = Repo()
    first = repo.add(files_of(adapter))
    repo.refs["v1"] = first
    model = load_adapter(adapter, load_backbone(vit))
    model.push_to_hub("me/mug")
    assert torch.equal(features(vit, "me/mug@v1"), features(vit, adapter))
    hub.requests.clear()
    loaded = equiview.load(vit, adapter=f"me/mug@{first}")
    assert hub.requests == [] and loaded.describe()["adapter"]["revision"] == first
    assert equiview.load(vit, adapter="me/mug").describe()["adapter"]["revision"] == repo.refs["main"] != first


def test_a_model_is_pushed_as_it_is_now(hub: Hub, vit: Path, adapter: Path) -> None:
    model = set_strength(load_adapter(adapter, load_backbone(vit)), 0.25)
    url = model.push_to_hub("me/quarter", private=True)
    assert url.startswith(hub.url) and hub.repos["me/quarter"].private
    assert torch.equal(features(vit, "me/quarter"), model(IMAGES))
    assert not torch.equal(features(vit, "me/quarter"), features(vit, adapter))
    # A file that the new one lacks goes away.
    model.head = None
    model.push_to_hub("me/quarter", card="---\nlicense: mit\n---\n# Mine\n")
    latest = hub.repos["me/quarter"].commits[hub.repos["me/quarter"].refs["main"]]
    assert "head.safetensors" not in latest and latest["README.md"].endswith(b"# Mine\n")
    assert torch.equal(features(vit, "me/quarter"), model(IMAGES))
    with pytest.raises(EquiviewError, match="a LoRA or a head.*features of the backbone alone"):
        equiview.load(vit).push_to_hub("me/nothing")
    with pytest.raises(EquiviewError, match="a merged LoRA"):
        model.merged().push_to_hub("me/nothing")
    assert "me/nothing" not in hub.repos


def test_a_local_folder_comes_first(
    hub: Hub, vit: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(adapter, tmp_path / "me" / "mug")
    monkeypatch.chdir(tmp_path)
    assert torch.equal(features(vit, "me/mug"), features(vit, adapter))
    assert hub.requests == []


def test_without_a_network_the_copy_here_is_used_and_named(
    hub: Hub, vit: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit = hub.repos.setdefault("me/mug", Repo()).add(files_of(adapter))
    before = features(vit, "me/mug")
    assert not caplog.records
    point_to(monkeypatch, "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING, "equiview"):
        assert torch.equal(features(vit, "me/mug"), before)
    assert f"copy of commit {commit[:12]}" in caplog.text


def test_an_export_goes_there(run: Run, hub: Hub, vit: Path, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert run("export", "-b", vit, "--adapter", run_folder, "--out", out, "--device", "cpu")[0] == 0
    code, *_ = run("push", out, "me/model", "--run", run_folder, "--base-model", "some/vit")
    assert code == 0
    there = hub.repos["me/model"].commits[hub.repos["me/model"].refs["main"]]
    own = {name: data for name, data in files_of(out).items() if name != "README.md"}
    assert {name: there[name] for name in own} == own and "modeling_equiview.py" in own
    card = there["README.md"].decode()
    assert matter(card)["library_name"] == "transformers" and 'from_pretrained("me/model", trust_remote' in card
    assert len(matter(card)["model-index"][0]["results"][0]["metrics"]) == 4
    # Scores are those of what is pushed, or none.
    assert run("export", "-b", vit, "--adapter", run_folder, "--strength", 0.5, "--out", tmp_path / "half")[0] == 0
    found = run("push", tmp_path / "half", "me/half", "--run", run_folder)
    check_message(found, "scores of the exported features", "strength", "Leave --run out")
    (out / "modeling_equiview.py").write_text("boom")
    check_message(run("push", out, "me/model"), "modeling_equiview.py", "another one")


def test_nothing_to_an_adapter_in_two_lines(hub: Hub, tmp_path: Path) -> None:
    """The code of a card as it stands, in a process of its own that knows the hub by HF_ENDPOINT."""
    extractor = Extractor(load_backbone(TINY), FeatureConfig(blocks=(6,), long_side=64), AverageHead(3))
    extractor.push_to_hub("me/tiny")
    card = hub.repos["me/tiny"].commits[hub.repos["me/tiny"].refs["main"]]["README.md"].decode()
    assert "base_model" not in matter(card)
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    known = environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "hf"))
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(tuple(features.shape), model.describe()['adapter']['repo'])"],
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("(1, 192, 3, 4) me/tiny\n", 0), done.stderr


# Bad input --------------------------------------------------------------------------------------------------------


def _tampered(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "adapter_model.safetensors": files["adapter_model.safetensors"][:-4] + b"\0\0\0\0"}


BAD = {
    "no such repository": ("me/none", lambda f: f, ["me/none", "no such repository", "Check the name", "hf auth"]),
    "wrong revision": ("me/mug@v9", lambda f: f, ["me/mug", "the revision v9", "no such revision", "@REVISION"]),
    "wrong commit": ("me/mug@" + "0" * 40, lambda f: f, ["me/mug", "the revision 000", "no such revision"]),
    "no adapter": ("me/mug", lambda f: {"config.json": b"{}"}, ["an adapter (equiview.json)", "config.json", "Give"]),
    "an export": ("me/mug", lambda f: {"modeling_equiview.py": b""}, ["AutoModel.from_pretrained"]),
    "tampered": ("me/mug", _tampered, ["me/mug: adapter_model.safetensors", "changed file", "ask its owner"]),
    "no name": ("me/mug--x..y", lambda f: f, ["a hub name", "OWNER/NAME"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_the_hub_does_not_give(run: Run, hub: Hub, vit: Path, adapter: Path, tmp_path: Path, name: str) -> None:
    asked, change, said = BAD[name]
    hub.repos.setdefault("me/mug", Repo()).add(change(files_of(adapter)))
    words = ("export", "-b", vit, "--adapter", asked, "--out", tmp_path / "out", "--device", "cpu")
    check_message(run(*words), *said)
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_backbone(run: Run, hub: Hub, adapter: Path, tmp_path: Path) -> None:
    hub.repos.setdefault("me/mug", Repo()).add(files_of(adapter))
    words = ("export", "-b", TINY, "--adapter", "me/mug", "--out", tmp_path / "out", "--device", "cpu")
    check_message(run(*words), "made for", "Load the backbone the adapter was made for")


def test_a_hub_out_of_reach(
    run: Run, hub: Hub, vit: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(monkeypatch, "http://127.0.0.1:9")
    words = ("export", "-b", vit, "--adapter", "me/mug", "--out", tmp_path / "out", "--device", "cpu")
    check_message(run(*words), "me/mug: nothing at this path, not in the cache", "check the name and the network")
    check_message(run("push", adapter, "me/mug"), "push to me/mug", "did not take it", "try again")


def test_pushes_that_are_refused(
    run: Run, hub: Hub, adapter: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_message(run("push", adapter, "mug"), "OWNER/NAME", "'mug'", "user name or organisation")
    check_message(run("push", adapter, "me/mug@v1"), "OWNER/NAME", "main branch")
    check_message(run("push", tmp_path / "none", "me/mug"), "a run folder, an adapter", "nothing there")
    (tmp_path / "empty").mkdir()
    check_message(run("push", tmp_path / "empty", "me/mug"), "equiview.json", "neither", "improve, finetune or export")
    check_message(run("push", adapter, "you/mug"), "the right to write there", "a token that may not", "write access")
    check_message(run("push", adapter, "me/mug", "--license", "bad"), "README.md", "license", "Correct it")
    other = Path(shutil.copytree(run_folder, tmp_path / "other"))
    (other / "adapter" / "equiview.json").write_text("{}")
    check_message(run("push", adapter, "me/mug", "--run", other), "the run that made this adapter", "another adapter")
    broken = Path(shutil.copytree(adapter, tmp_path / "broken"))
    (broken / "head.safetensors").write_bytes(b"")
    check_message(run("push", broken, "me/mug"), "head.safetensors", "changed file", "Copy the whole folder")
    monkeypatch.delenv("HF_TOKEN")
    check_message(run("push", adapter, "me/mug"), "a token of the hub", "none on this machine", "hf auth login")
    assert not hub.repos
