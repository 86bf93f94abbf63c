"""Bad input through the command line: one clear message, a non-zero exit, nothing half-written, and a way on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import equiview
from bad_inputs import (
    Run,
    ball_ply,
    check_message,
    cut,
    environment,
    evil_ckpt,
    interrupted,
    leftovers,
    no_faces_glb,
    quad_glb,
    scores,
    write_adapter,
)
from equiview.errors import EquiviewError
from equiview.render import open_views
from models.backbones.tiny import COMMON, make_model, save
from render.makers import QUAD

pytestmark = pytest.mark.usefixtures("undrawn")
FAST = ("--device", "cpu", "--quiet")
SMALL = ("--set", "features.long_side=64", "pairs.points=40", "lora.last_blocks=2", "steps=4")
CLI = [sys.executable, "-c", "from equiview.cli import main; main()"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("good")


@pytest.fixture(scope="module")
def vit(root: Path) -> Path:
    return save(make_model("vit"), root / "vit")


@pytest.fixture(scope="module")
def ball(root: Path) -> Path:
    return ball_ply(root / "ball.ply")


@pytest.fixture(scope="module")
def balls(root: Path) -> list[Path]:
    """Three folders of five small views each."""
    from equiview.data.meshes import open_mesh
    from equiview.render import RenderConfig, render_views, ring

    made = []
    for seed in range(3):
        mesh = open_mesh(ball_ply(root / f"ball{seed}.ply", seed))
        folder = root / f"views{seed}"
        render_views(mesh, ring(10, hw=(64, 64))[:5], RenderConfig(hw=(64, 64)), folder)
        made.append(folder)
    return made


@pytest.fixture(scope="module")
def adapter(root: Path, vit: Path) -> Path:
    return write_adapter(root / "adapter", vit)


def render(mesh: object, out: Path, *more: object) -> tuple[object, ...]:
    return ("render", mesh, "--out", out, "--views", 2, "--size", 32, "--quiet", *more)


def measure(vit: object, objects: list, out: Path, *more: object) -> tuple[object, ...]:
    return (
        *("measure", "-b", vit, "--out", out, "--points", 20, "--long-side", 64, *FAST, *more),
        "--objects",
        *objects,
    )


def improve(vit: object, train: list, test: list, out: Path, *more: object) -> tuple[object, ...]:
    words = ("improve", "-b", vit, "--out", out, "--points", 20, "--recipe", "lora-only", *FAST, *SMALL, *more)
    return (*words, "--train-objects", *train, "--test-objects", *test)


# Meshes -----------------------------------------------------------------------------------------------------------


def _nan(folder: Path) -> Path:
    vertices = QUAD.copy()
    vertices[1, 0] = np.nan
    return quad_glb(folder / "nan.glb", vertices)


def _text(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


MESHES = {
    "missing": (lambda d: d / "nowhere.glb", ["nowhere.glb", "found nothing there", "Check the path"]),
    "truncated glb": (lambda d: cut(quad_glb(d / "cut.glb")), ["cut.glb", "bytes", "truncated"]),
    "truncated header": (lambda d: cut(quad_glb(d / "cut.glb"), 0.005), ["cut.glb", "expected"]),
    "truncated ply": (lambda d: cut(ball_ply(d / "cut.ply"), 0.9), ["cut.ply", "truncated", "export it again"]),
    "truncated ply header": (lambda d: cut(ball_ply(d / "cut.ply"), 0.002), ["cut.ply", "header"]),
    "degenerate": (lambda d: quad_glb(d / "flat.glb", QUAD * [1, 0, 0]), ["flat.glb", "degenerate triangles"]),
    "one point": (lambda d: quad_glb(d / "point.glb", QUAD * 0), ["point.glb", "degenerate triangles"]),
    "empty glb": (lambda d: no_faces_glb(d / "empty.glb"), ["empty.glb", "a mesh with triangles", "found none"]),
    "empty file": (lambda d: _text(d, "empty.obj", ""), ["empty.obj"]),
    "points only": (lambda d: _text(d, "points.obj", "v 0 0 0\nv 1 0 0\n"), ["points.obj", "triangles"]),
    "nan": (_nan, ["nan.glb", "finite vertex coordinates", "1 vertices with NaN"]),
    "wrong index": (lambda d: _text(d, "far.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"), ["far.obj", "corrupt"]),
    "suffix": (lambda d: _text(d, "mug.stl", "solid"), ["mug.stl", ".glb, .gltf, .obj or .ply", "'.stl'", "Convert"]),
    "procedural": (lambda d: "procedural:red", ["procedural:red", "whole number", "procedural:0"]),
    "household": (lambda d: "household:-1", ["household:-1", "whole number", "household:0"]),
    "a folder": (lambda d: d, ["mesh", "found a folder"]),
    "no suffix": (lambda d: d / "mug", ["mug", "mesh", "found nothing there"]),
}


@pytest.mark.parametrize("name", MESHES)
def test_unusable_mesh(run: Run, ball: Path, tmp_path: Path, name: str) -> None:
    make, said = MESHES[name]
    out = tmp_path / "views"
    check_message(run(*render(make(tmp_path), out)), *said)
    assert not out.exists()
    assert run(*render(ball, out))[0] == 0


@pytest.mark.parametrize("place", ["train", "test", "measure"])
def test_a_bad_object_is_found_before_the_work_and_the_folder_stays_free(
    run: Run, vit: Path, balls: list[Path], tmp_path: Path, place: str
) -> None:
    bad, out = cut(quad_glb(tmp_path / "cut.glb")), tmp_path / "out"
    train, test = ([bad], [balls[1]]) if place == "train" else ([balls[0]], [balls[1], bad])
    wrong = measure(vit, test, out) if place == "measure" else improve(vit, train, test, out)
    check_message(run(*wrong), "cut.glb", "truncated")
    assert not (out / "log.jsonl").exists() and not (out / "views").exists()
    right = measure(vit, balls[1:2], out) if place == "measure" else improve(vit, balls[:1], balls[1:2], out)
    assert run(*right)[0] == 0
    assert (out / "summary.json").is_file() and not leftovers(out)


def test_a_mesh_without_texture_is_drawn_in_its_colour_with_a_note(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(*render(quad_glb(tmp_path / "plain.glb"), tmp_path / "views", "--rig", "ring", "--views", 4))
    assert code == 0
    assert "Note: There is no texture" in " ".join(out.split())
    # The quad faces -y, since glTF is y-up: the first view sees its edge only.
    view = max(open_views(tmp_path / "views"), key=lambda view: view.mask.sum())
    inside = view.rgb[view.mask]
    assert len(inside) and (inside[:, 1] > 40).all() and (inside[:, [0, 2]] < 5).all()


def test_background(run: Run, ball: Path, tmp_path: Path) -> None:
    out = tmp_path / "views"
    said = ("background", "'random' or an image file", "nowhere.png", "Check the path")
    check_message(run(*render(ball, out, "--background", tmp_path / "nowhere.png")), *said)
    broken = _text(tmp_path, "broken.png", "no picture")
    check_message(run(*render(ball, out, "--background", broken)), "broken.png", "an image that opens")
    assert not leftovers(tmp_path) and not list(tmp_path.rglob("*.npz"))
    assert run(*render(ball, out))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("measure", "--views", "1"), "--views"),
        (("improve", "--views", "1"), "--views"),
        (("render", "--size", "3"), "--size"),
    ],
)
def test_numbers_out_of_range(run: Run, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2 and out == ""
    assert said in err and "greater than or equal to" in err and "Traceback" not in err


def test_pictures_too_large_for_the_memory(run: Run, ball: Path, tmp_path: Path) -> None:
    code, out, err = run(*render(ball, tmp_path / "o", "--size", 10**9))
    assert (code, out) == (2, "") and "8192" in err and not (tmp_path / "o").exists()
    assert run(*render(ball, tmp_path / "o"))[0] == 0


def test_more_views_than_cameras(run: Run, vit: Path, ball: Path, tmp_path: Path) -> None:
    check_message(run(*render(ball, tmp_path / "o", "--views", 43)), "views", "1 to 42", "43")
    check_message(run(*measure(vit, [ball], tmp_path / "m", "--views", 43)), "views", "1 to 42", "43")


def test_views_that_share_nothing(run: Run, vit: Path, ball: Path, tmp_path: Path) -> None:
    """Two cameras on opposite sides."""
    assert run(*render(ball, tmp_path / "two", "--rig", "ring"))[0] == 0
    out = tmp_path / "out"
    check_message(run(*measure(vit, [tmp_path / "two"], out)), "two", "share 10% of the surface", "closer together")
    assert not list(out.glob("summary*"))


def test_an_object_too_small_to_see(run: Run, vit: Path, tmp_path: Path) -> None:
    """Two specks far apart: no pixel centre meets a triangle."""
    vertices = np.concatenate([QUAD * 1e-4, QUAD * 1e-4 + [1, 1, 1]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    mesh = quad_glb(tmp_path / "specks.glb", vertices, faces)
    assert run(*render(mesh, tmp_path / "views"))[0] == 0
    check_message(run(*measure(vit, [tmp_path / "views"], tmp_path / "out")), "an empty mask", "scale")


# Backbones --------------------------------------------------------------------------------------------------------


def save_broken(folder: Path, preprocessor: object = None, **config: object) -> Path:
    """Save a model, then change what its folder says."""
    path = save(make_model("vit"), folder / "vit")
    text = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(text | config))
    if preprocessor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return path


BACKBONES = {
    "no such folder": (lambda d: d / "nowhere", ["nowhere", "save_pretrained", "nothing there", "give the folder"]),
    "a file": (lambda d: _text(d, "model.bin", "x"), ["model.bin", "found a file"]),
    "empty folder": (lambda d: _folder(d / "empty"), ["empty", "with config.json", "save_pretrained"]),
    "no model type": (lambda d: _folder(d / "odd", {}), ["odd", "model_type", "dinov2", "None"]),
    "another type": (lambda d: _folder(d / "bert", {"model_type": "bert"}), ["model_type", "'bert'"]),
    "broken config": (lambda d: _folder(d / "broken", "{"), ["config.json", "does not parse"]),
    "no head": (
        lambda d: save_broken(d, num_attention_heads=0),
        ["vit", "weights of a ViTModel", "Download or save it again"],
    ),
    "normalisation": (
        lambda d: save_broken(d, {"image_mean": ["a", 1, 2], "image_std": [1, 1, 1]}),
        ["preprocessor_config.json", "three numbers each", "Fix the file"],
    ),
    "no normalisation": (
        lambda d: save_broken(d, [1]),
        ["preprocessor_config.json", "settings of an image processor", "found list"],
    ),
    "no weights": (lambda d: _folder(d / "bare", {"model_type": "vit", **COMMON}), ["bare", "model.safetensors"]),
    "timm": (lambda d: "timm:no_such_model", ["timm"]),
}


def _folder(path: Path, config: object = None) -> Path:
    path.mkdir()
    if config is not None:
        (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return path


@pytest.mark.parametrize("name", BACKBONES)
def test_unusable_backbone(run: Run, balls: list[Path], tmp_path: Path, name: str) -> None:
    make, said = BACKBONES[name]
    out = tmp_path / "out"
    check_message(run(*measure(make(tmp_path), balls[:1], out)), *said)
    assert not out.exists()


def test_a_mistyped_backbone_does_not_keep_the_folder(run: Run, vit: Path, balls: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_message(run(*improve(f"{vit}x", balls[:1], balls[1:2], out)), "vitx", "nothing there")
    assert run(*improve(vit, balls[:1], balls[1:2], out))[0] == 0


def test_truncated_weights(run: Run, vit: Path, balls: list[Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(vit, tmp_path / "cut"))
    cut(folder / "model.safetensors")
    check_message(run(*measure(folder, balls[:1], tmp_path / "o")), "model.safetensors", "truncated", "again")


def test_hub_id_without_network_says_how_to_use_a_folder(balls: list[Path], tmp_path: Path) -> None:
    """A port nobody listens on stands for the hub."""
    arguments = [str(a) for a in measure("facebook/no-such-model-here", balls[:1], tmp_path / "out")]
    started = time.monotonic()
    done = subprocess.run(
        [*CLI, *arguments],
        env=environment(HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "cache")),
        capture_output=True,
        text=True,
        check=False,
    )
    result = (done.returncode, done.stdout, done.stderr)
    check_message(result, "facebook/no-such-model-here", "network", "--local-dir", "give the folder")
    assert time.monotonic() - started < 30
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--blocks", "99"), ["blocks 1..3", "[99]", "count from 1"]),
        (("--blocks", "last"), ["--blocks", "'last'", "4,6,8,10"]),
        (("--stride", "9"), ["stride", "1 to 8 pixels", "9"]),
        (("--device", "toaster"), ["--device", "auto, cpu, cuda", "'toaster'"]),
    ],
)
def test_settings_the_backbone_does_not_have(
    run: Run, vit: Path, balls: list[Path], tmp_path: Path, more: tuple[str, ...], said: list[str]
) -> None:
    out = tmp_path / "out"
    check_message(run(*measure(vit, balls[:1], out, *more)), *said)
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--recipe", "magic"), ["recipe", "paper, one-step, default", "'magic'"]),
        (("--set", "stepz=3"), ["setting 'stepz'", "steps", "found 'stepz'"]),
        (("--set", "lora.rang=3"), ["lora.rang", "rank", "found 'rang'"]),
        (("--set", "steps=ten"), ["'steps'", "int", "'ten'"]),
        (("--set", "steps=2.5"), ["'steps'", "int", "'2.5'"]),
        (("--set", "lr=-1"), ["lr", "above 0", "-1"]),
        (("--set", "steps"), ["--set", "key=value", "'steps'"]),
        (("--set", "features.blocks=7"), ["blocks 1..3", "[7]"]),
        (("--set", "lora.rank=0"), ["rank"]),
        (("--set", "strength=0.5"), ["'strength'", "stages add_head, network", "Leave it out"]),
        (
            ("--photos", "EMPTY", "--set", "closed_form.c=1", "kind=train_then_closed_form"),
            ["EMPTY", "photos", "Leave --photos out"],
        ),
    ],
)
def test_recipes_and_settings(
    run: Run, vit: Path, balls: list[Path], tmp_path: Path, more: tuple[str, ...], said: list[str]
) -> None:
    (tmp_path / "EMPTY").mkdir()
    more = tuple(str(tmp_path / "EMPTY") if word == "EMPTY" else word for word in more)
    out = tmp_path / "out"
    words = ("finetune", "-b", vit, "--train-objects", balls[0], "--out", out, *FAST, "--recipe", "lora-only", *SMALL)
    check_message(run(*words, *more), *said)
    assert not (out / "adapter").exists() and not leftovers(tmp_path)
    assert run(*words)[0] == 0
    assert (out / "adapter" / "equiview.json").is_file()


# Adapters and checkpoints -----------------------------------------------------------------------------------------


def _drop(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _edit(folder: Path) -> None:
    path = folder / "adapter_config.json"
    path.write_text(path.read_text().replace('"r": 2', '"r": 4'))


def _other_format(folder: Path) -> None:
    path = folder / "equiview.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))


ADAPTERS = {
    "missing folder": (shutil.rmtree, ["adapter", "an adapter folder", "nothing there", "Check the path"]),
    "no record": (lambda f: _drop(f, "equiview.json"), ["equiview.json", "nothing there"]),
    "no weights": (lambda f: _drop(f, "adapter_model.safetensors"), ["adapter_model.safetensors", "nothing there"]),
    "truncated": (lambda f: cut(f / "adapter_model.safetensors"), ["adapter_model.safetensors", "truncated", "Copy"]),
    "edited": (_edit, ["adapter_config.json", "changed file", "Copy the whole folder again"]),
    "broken record": (lambda f: cut(f / "equiview.json"), ["equiview.json", "does not parse"]),
    "another format": (_other_format, ["format_version", "expected 1", "found 99", "Update equiview"]),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_damaged_adapter(run: Run, vit: Path, balls: list[Path], adapter: Path, tmp_path: Path, name: str) -> None:
    folder, out = Path(shutil.copytree(adapter, tmp_path / "adapter")), tmp_path / "out"
    spoil, said = ADAPTERS[name]
    spoil(folder)
    check_message(run(*measure(vit, balls[:1], out, "--adapter", folder)), *said)
    check_message(run("export", "-b", vit, "--adapter", folder, "--out", out, *FAST), *said)
    assert not out.exists()
    assert run("export", "-b", vit, "--adapter", adapter, "--out", out, *FAST)[0] == 0


def test_adapter_of_another_backbone(run: Run, balls: list[Path], adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = save(make_model("dinov2"), tmp_path / "dinov2")
    said = ("made for", "patch", "8", "14 in", "Load the backbone the adapter was made for")
    check_message(run(*measure(other, balls[:1], out, "--adapter", adapter)), *said)
    same = save(make_model("vit", seed=5), tmp_path / "seed5")
    said = ("backbone weights", "sha256", "Load the backbone the adapter was made for")
    check_message(run(*measure(same, balls[:1], out, "--adapter", adapter)), *said)
    assert not out.exists()


def test_plain_export_is_refused_when_the_gain_is_in_the_head(
    run: Run, vit: Path, adapter: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    words = ("export", "-b", vit, "--adapter", adapter, "--out", out, *FAST)
    check_message(run(*words, "--plain"), "the gain sits in the head (average)", "without --plain")
    assert not out.exists() and not leftovers(tmp_path)
    assert run(*words)[0] == 0


@pytest.mark.parametrize("kind", ["malicious", "truncated", "missing", "text"])
def test_bad_released_checkpoint(vit: Path, tmp_path: Path, kind: str) -> None:
    path, target, out = tmp_path / "base.ckpt", tmp_path / "ran", tmp_path / "adapter"
    if kind in ("malicious", "truncated"):
        evil_ckpt(path, target)
    if kind == "truncated":
        cut(path)
    if kind == "text":
        path.write_text("<html>not found</html>")
    said = {"malicious": "Nothing was executed", "missing": "nothing there"}.get(kind, "Download it again")
    with pytest.raises(EquiviewError, match=f"base.ckpt: expected .*found .*{said}"):
        equiview.import_checkpoint(path, out, backbone=vit)
    assert not target.exists() and not out.exists() and not leftovers(tmp_path)


# Run folders ------------------------------------------------------------------------------------------------------


def test_corrupt_view_is_named(run: Run, vit: Path, ball: Path, balls: list[Path], tmp_path: Path) -> None:
    views = Path(shutil.copytree(balls[0], tmp_path / "views"))
    cut(views / "view_0002.npz")
    out = tmp_path / "out"
    check_message(run(*measure(vit, [views], out)), "view_0002.npz", "corrupt", "Delete it")
    (views / "view_0002.npz").unlink()
    check_message(run(*measure(vit, [views], out)), "view_0002.npz", "1 missing", "equiview render")
    cut(views / "meta.json")
    check_message(run(*measure(vit, [views], out)), "meta.json", "does not parse")
    assert run(*measure(vit, balls[:1], out))[0] == 0


def test_render_draws_a_corrupt_view_again(run: Run, ball: Path, tmp_path: Path) -> None:
    words = render(ball, tmp_path)
    assert run(*words)[0] == 0
    whole = (tmp_path / "view_0001.npz").read_bytes()
    cut(tmp_path / "view_0001.npz")
    assert run(*words)[0] == 0
    assert (tmp_path / "view_0001.npz").read_bytes() == whole
    check_message(run(*render(ball, tmp_path, "--background", "white")), "same mesh, cameras and settings", "config")
    assert (tmp_path / "view_0001.npz").read_bytes() == whole


@pytest.fixture(scope="module")
def measured(root: Path, vit: Path, balls: list[Path]) -> tuple[Path, tuple[object, ...]]:
    """A finished measurement and its command."""
    words = measure(vit, balls[:2], root / "measured")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["equiview", *map(str, words)])
        from equiview.cli import main

        main()
    assert not stopped.value.code
    return root / "measured", words


ROWS = {
    "cut off": lambda path: cut(path, 0.9),
    "empty": lambda path: path.write_text(""),
    "no json": lambda path: path.write_text("{]\n" + path.read_text()),
    "other keys": lambda path: path.write_text('{"object": "x"}\n'),
    "no objects": lambda path: path.write_text("[1]\n"),
    "binary": lambda path: path.write_bytes(b"\xff\xfe\n"),
}


@pytest.mark.parametrize("name", ROWS)
def test_corrupt_rows_are_named(run: Run, measured: tuple, tmp_path: Path, name: str) -> None:
    done, words = measured
    out = Path(shutil.copytree(done, tmp_path / "out"))
    again = [out if word == done else word for word in words]
    ROWS[name](out / "rows" / "views1.jsonl")
    check_message(run(*again), "views1.jsonl", "Delete")
    (out / "rows" / "views1.jsonl").unlink()
    assert run(*again)[0] == 0
    assert scores(out) == scores(done)


def test_a_folder_of_another_run_is_refused(
    run: Run, vit: Path, balls: list[Path], measured: tuple, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(measured[0], tmp_path / "out"))
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    said = ("this very run to go on with", "differs in", "Choose another --out")
    check_message(run(*measure(vit, balls[2:], out)), *said, "objects")
    check_message(run(*improve(vit, balls[:1], balls[1:], out)), *said)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    cut(out / "run.json")
    check_message(run(*measure(vit, balls[:2], out)), "run.json", "does not parse", "damaged")
    (out / "run.json").unlink()
    check_message(run(*measure(vit, balls[:2], out)), "run.json beside the rows", "Choose another --out")


def test_a_test_object_that_was_trained_on(run: Run, vit: Path, balls: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = ("every object once", "views0 twice", "must not be trained on")
    check_message(run(*improve(vit, balls[:1], balls[:2], out)), *said)
    assert not out.exists()


def test_report(run: Run, measured: tuple, tmp_path: Path) -> None:
    check_message(run("report", tmp_path), "summary.json", "an empty folder", "the same command resumes it")
    check_message(run("report", tmp_path / "no"), "the folder of a run", "nothing there")
    out = Path(shutil.copytree(measured[0], tmp_path / "out"))
    (out / "report.html").unlink()
    cut(out / "summary.json")
    check_message(run("report", out), "summary.json", "does not parse")
    assert not (out / "report.html").exists()
    shutil.copy(measured[0] / "summary.json", out)
    assert run("report", out)[0] == 0


@pytest.mark.parametrize("name", ["render", "measure", "improve", "finetune", "export", "demo", "report"])
def test_out_that_is_a_file(
    run: Run, vit: Path, ball: Path, balls: list[Path], adapter: Path, measured: tuple, tmp_path: Path, name: str
) -> None:
    out = _text(tmp_path, "taken", "mine")
    words = {
        "render": render(ball, out),
        "measure": measure(vit, balls[:1], out),
        "improve": improve(vit, balls[:1], balls[1:2], out),
        "finetune": ("finetune", "-b", vit, "--train-objects", balls[0], "--out", out, *FAST),
        "export": ("export", "-b", vit, "--adapter", adapter, "--out", out, *FAST),
        "demo": ("demo", "--out", out, *FAST),
        "report": ("report", measured[0], "--out", out / "page.html", "--quiet"),
    }[name]
    check_message(run(*words), "taken", "a folder", "a file", "Choose another")
    assert out.read_text() == "mine" and not leftovers(tmp_path)


# Interruptions, full disks and folders that refuse ------------------------------------------------------------------


def check_stopped(result: tuple[int, str, str], command: str) -> None:
    said = check_message(result, "the same command resumes it", code=130)
    assert said.startswith("Stopped.") and result[2].splitlines()[-1].startswith(f"  equiview {command} ")


@pytest.mark.parametrize("at", [1, 4])
def test_ctrl_c_in_render(run: Run, ball: Path, tmp_path: Path, at: int) -> None:
    words = ("render", ball, "--views", 5, "--size", 48, "--quiet")
    assert run(*words, "--out", tmp_path / "whole")[0] == 0
    out = tmp_path / "cut"
    with interrupted("equiview.render.store.encode_view", at):
        check_stopped(run(*words, "--out", out), "render")
    assert len(list(out.glob("view_*.npz"))) == at - 1 and not leftovers(out)
    assert run(*words, "--out", out)[0] == 0
    for path in (tmp_path / "whole").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_ctrl_c_while_a_file_is_written(run: Run, ball: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes between writing and renaming."""
    words = render(ball, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        check_stopped(run(*words), "render")
    assert not list((tmp_path / "out").iterdir())
    assert run(*words)[0] == 0


def test_ctrl_c_in_measure(run: Run, measured: tuple, tmp_path: Path) -> None:
    done, words = measured
    again = [tmp_path / "out" if word == done else word for word in words]
    with interrupted("equiview.jobs.measure.score_object", 2):
        check_stopped(run(*again), "measure")
    assert not list((tmp_path / "out").glob("summary*")) and not leftovers(tmp_path)
    assert run(*again)[0] == 0
    assert scores(tmp_path / "out") == scores(done)


@pytest.fixture(scope="module")
def improved(root: Path, vit: Path, balls: list[Path]) -> Path:
    """A finished run of improve."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["equiview", *map(str, improve(vit, balls[:1], balls[1:], root / "improved"))])
        from equiview.cli import main

        main()
    assert not stopped.value.code
    return root / "improved"


@pytest.mark.parametrize(
    ("place", "at"),
    [
        ("equiview.finetune.train.prepare_pairs", 3),
        ("equiview.finetune.train.save_checkpoint", 1),
        ("equiview.jobs.finetune.save_adapter", 1),
        ("equiview.jobs.improve.score_object", 6),
    ],
)
def test_ctrl_c_in_improve(
    run: Run, vit: Path, balls: list[Path], improved: Path, tmp_path: Path, place: str, at: int
) -> None:
    out = tmp_path / "out"
    words = improve(vit, balls[:1], balls[1:], out)
    with interrupted(place, at):
        check_stopped(run(*words), "improve")
    assert not list(out.glob("summary*")) and not leftovers(out)
    assert run(*words)[0] == 0
    assert scores(out) == scores(improved)
    assert (out / "rows.jsonl").read_bytes() == (improved / "rows.jsonl").read_bytes()


def test_a_real_signal(ball: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [str(word) for word in ("render", ball, "--out", out, "--size", 768, "--views", 40, "--quiet")]
    # Where the tests run in the background of a script the signal is ignored, and a child inherits that.
    heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [*CLI[:2], heeded + CLI[2], *words]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(out.glob("view_*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "the same command resumes it" in err
    assert not leftovers(out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a full disk needs a mount: {made.stderr.decode(errors='replace').strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Write a file that leaves this many bytes free."""
    path = disk / "filler"
    path.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - leave)))
    return path


@pytest.mark.parametrize("leave", [0, 8_192, 32_768])
@pytest.mark.parametrize("name", ["render", "measure", "improve", "finetune", "export", "report"])
def test_full_disk(
    run: Run,
    vit: Path,
    ball: Path,
    balls: list[Path],
    adapter: Path,
    measured: tuple,
    small_disk: Path,
    name: str,
    leave: int,
) -> None:
    out = small_disk / "out"
    words = {
        "render": ("render", ball, "--out", out, "--size", 192, "--views", 12, "--quiet"),
        "measure": measure(vit, balls[:1], out),
        "improve": improve(vit, balls[:1], balls[1:2], out),
        "finetune": (
            "finetune",
            "-b",
            vit,
            "--train-objects",
            balls[0],
            "--out",
            out,
            *FAST,
            "--recipe",
            "lora-only",
            *SMALL,
        ),
        "export": ("export", "-b", vit, "--adapter", adapter, "--out", out, *FAST),
        "report": ("report", measured[0], "--out", out / "page.html", "--quiet"),
    }[name]
    filler = fill(small_disk, leave)
    result = run(*words)
    if result[0] == 0:
        pytest.skip(f"{name} fits into {leave} bytes")
    check_message(result, "disk")
    assert not leftovers(small_disk)
    filler.unlink()
    assert run(*words)[0] == 0


def test_read_only_folder(run: Run, vit: Path, ball: Path, balls: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write to every folder")
    for words in (render(ball, folder / "out"), measure(vit, balls[:1], folder / "out")):
        check_message(run(*words), "cannot be written", "--out")
    assert not list(folder.iterdir())


def test_a_folder_that_refuses(run: Run, ball: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a user whom nothing is refused."""
    with monkeypatch.context() as patch:
        patch.setattr("equiview.io.tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(PermissionError(13, "denied")))
        check_message(run(*render(ball, tmp_path / "out")), "cannot be written (denied)", "--out")
    assert run(*render(ball, tmp_path / "out"))[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied", str(path))))
        check_message(run(*render(ball, tmp_path / "new")), "ball.ply: denied", "rights")
