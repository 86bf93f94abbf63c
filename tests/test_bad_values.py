"""Values that were once used, drawn or written without a word: each is refused where it enters, in this process."""

import json
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import SafetensorError

from bad_inputs import Evil, Run, ball_ply, check_message, cut, environment, leftovers, quad_glb
from equiview import limits
from equiview.errors import EquiviewError
from equiview.finetune.network_settings import NetworkTraining
from equiview.finetune.recipes import Recipe
from equiview.io import atomic_path, require_space
from equiview.jobs.doctor import _disk
from equiview.matching.tracking.data import TrackConfig
from equiview.models.extractor import FeatureConfig
from report.make_run import write_measured

Make = Callable[[Path], object]


def _tiff(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def _bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _huge_png(path: Path) -> Path:
    """Write the header of a picture of 13,000 x 13,000 black and white pixels: 169 million."""
    head = (13_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    return _bytes(path, b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b""))


RAMP = np.linspace(-3, 300, 48 * 64).reshape(48, 64)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(ran) (w) file closefile\n"
PICTURES: dict[str, tuple[Make, str]] = {
    "floats beyond 1": (lambda d: _tiff(d / "a.tif", RAMP.astype(np.float32)), "floats from -3 to 300"),
    "floats with NaN": (lambda d: _tiff(d / "a.tif", np.full((9, 9), np.nan, np.float32)), "floats from nan"),
    "integers beyond 255": (lambda d: _tiff(d / "a.tif", (RAMP * 1e6).astype(np.int32)), "32-bit integers"),
    "169 million pixels": (lambda d: _huge_png(d / "a.png"), "at most 134 million pixels, found 13000x13000"),
    "a program": (lambda d: _bytes(d / "a.png", EPS), "an image that opens"),
    "nothing": (lambda d: _bytes(d / "a.png", b""), "an image that opens"),
    "text": (lambda d: _bytes(d / "a.jpg", b"<html>"), "an image that opens"),
    "a folder": (lambda d: d, "a folder"),
    "missing": (lambda d: d / "b.png", "nothing there"),
    "a line break": (lambda d: d / "a\nb.png", "printable text"),
    "an undecodable name": (lambda d: d / "a\udcff.png", "printable text"),
    "a name of 5,000 letters": (lambda d: d / ("a" * 5000 + ".png"), "too long"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(run: Run, tmp_path: Path, name: str) -> None:
    make, said = PICTURES[name]
    words = ("match", make(tmp_path), make(tmp_path), "-b", "equiview/tiny", "--out", tmp_path / "out", "--quiet")
    result = run(*words, "--device", "cpu", "--long-side", 64)
    check_message(result, said)
    assert len(result[2].replace(str(tmp_path), "")) < 800
    assert not (tmp_path / "out").exists() and not leftovers(tmp_path)


def broken(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content.setdefault(key, {})
        content[path[-1]] = value

    return spoil


NAN, INF = float("nan"), float("inf")
SUMMARIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "protocol is a number": (broken("protocol", value=3), "protocol: expected an object, found 3"),
    "run is a list": (broken("protocol", "run", value=[1]), "run: expected an object"),
    "features is text": (broken("protocol", "features", value="x"), "features: expected an object"),
    "notes is a number": (broken("protocol", "notes", value=5), "notes: expected a list"),
    "metrics is a list": (broken("metrics", value=[1]), "metrics: expected an object"),
    "a metric is a number": (broken("metrics", "ape", value=1), "ape: expected an object, found 1"),
}
REPORTED = SUMMARIES | {
    "a value is NaN": (broken("metrics", "ape", "value", value=NAN), "ape: expected a number or null"),
    "a value is text": (broken("metrics", "ape", "value", value="x"), "ape: expected a number or null"),
    "an interval of one": (broken("metrics", "ape", "ci95", value=[1]), "two numbers or null"),
    "angles are a list": (broken("metrics", "ape", "by_angle", value=[1]), "by_angle: expected an object"),
}
ROWS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a score is infinite": (broken("ape", value=INF), "rows.jsonl:1: ape: expected a finite number"),
    "a score is NaN": (broken("ape", value=NAN), "rows.jsonl:1: ape: expected a finite number"),
}
REPORTED_ROWS = ROWS | {
    "a score is text": (broken("ape", value="x"), "ape: expected a finite number, found 'x'"),
    "a score is null": (broken("ape", value=None), "ape: expected a finite number, found None"),
    "an object is a list": (broken("object", value=[1]), "object: expected text"),
    "a status is a number": (broken("status", value=1), "status: expected text"),
    "an angle is text": (broken("angle_deg", value="wide"), "angle_deg: expected a finite number"),
}


def _spoil_summary(folder: Path, spoil: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((folder / "summary.json").read_text())
    spoil(content)
    (folder / "summary.json").write_text(json.dumps(content))


def _spoil_row(folder: Path, spoil: Callable[[dict[str, Any]], None]) -> None:
    first, rest = (folder / "rows.jsonl").read_text().split("\n", 1)
    row = json.loads(first)
    spoil(row)
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n" + rest)


@pytest.mark.parametrize("name", [*REPORTED, *REPORTED_ROWS])
def test_report_of_a_run_with_wrong_values(run: Run, tmp_path: Path, name: str) -> None:
    folder = write_measured(tmp_path / "run")
    if name in REPORTED:
        _spoil_summary(folder, REPORTED[name][0])
    else:
        _spoil_row(folder, REPORTED_ROWS[name][0])
    check_message(run("report", folder), (REPORTED | REPORTED_ROWS)[name][1])
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("command", ["compare", "study"])
@pytest.mark.parametrize("name", SUMMARIES)
def test_comparing_and_studying_a_run_with_wrong_values(run: Run, tmp_path: Path, command: str, name: str) -> None:
    good, bad = write_measured(tmp_path / "good"), write_measured(tmp_path / "bad")
    _spoil_summary(bad, SUMMARIES[name][0])
    out = () if command == "compare" else ("--out", tmp_path / "out")
    check_message(run(command, good, bad, *out), SUMMARIES[name][1])


@pytest.mark.parametrize("content", [b"[" * 10**5, b"9" * 5000, b'{"a":' * 10**5, b"\xff\xff", b"", b"[1"])
@pytest.mark.parametrize("name", ["summary.json", "rows.jsonl"])
def test_json_that_python_itself_cannot_read(run: Run, tmp_path: Path, name: str, content: bytes) -> None:
    folder = write_measured(tmp_path / "run")
    (folder / name).write_bytes(content + b"\n{}\n")
    check_message(run("report", folder), name)


SETTINGS = {
    "negative budget": (lambda: Recipe("r", time_budget_s=-1.0), "time_budget_s: expected seconds, 0 or more"),
    "budget of NaN": (lambda: Recipe("r", time_budget_s=NAN), "time_budget_s"),
    "batch": (lambda: NetworkTraining(batch=10**9), "batch: expected at most 1,024"),
    "long side": (lambda: FeatureConfig(long_side=10**6), "long_side: expected at most 8,192"),
    "long side of sizes": (lambda: FeatureConfig(long_side=8000, sizes=(2.0,)), "long_side: expected at most 8,192"),
    "median of 1e9 frames": (lambda: TrackConfig(smoothing=10**9 + 1), "smoothing: expected at most 1,001"),
    "learning rate": (lambda: NetworkTraining(lr=INF), "lr"),
    "temperature": (lambda: NetworkTraining(temperature=NAN), "temperature"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name: str) -> None:
    make, said = SETTINGS[name]
    with pytest.raises(EquiviewError, match=said):
        make()


def test_memory_is_asked_for_before_it_is_taken(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "free_memory", lambda: 2**20)
    words = ("render", ball_ply(tmp_path / "ball.ply"), "--out", tmp_path / "out", "--size", 256, "--quiet")
    check_message(run(*words), "a view of 256x256 pixels", "free memory", "smaller pictures")
    assert not (tmp_path / "out").exists()


def test_free_memory_is_of_this_machine_or_container() -> None:
    free = limits.free_memory()
    assert free is None or 2**20 < free < 2**50


def test_doctor_does_not_say_that_a_file_can_be_written_to(tmp_path: Path) -> None:
    taken = _bytes(tmp_path / "taken", b"mine")
    found = _disk(taken)
    assert found.status == "broken" and "is a file" in found.found


@pytest.mark.parametrize("error", [OSError(28, "No space left"), SafetensorError("I/O error: os error 28")])
def test_a_full_disk_within_a_library_is_a_full_disk(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(EquiviewError, match="the disk is full"), atomic_path(tmp_path / "a.safetensors") as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert not list(tmp_path.iterdir())


SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
WRITERS = {
    "safetensors": (
        "import numpy as np; from pathlib import Path; from safetensors.numpy import save_file; "
        "from equiview.io import atomic_path\n"
        "with atomic_path(Path('a.safetensors')) as path: save_file({'a': np.zeros(10**5)}, path)"
    ),
    "safetensors in a folder": (
        "import numpy as np; from pathlib import Path; from safetensors.numpy import save_file; "
        "from equiview.io import atomic_folder\n"
        "with atomic_folder(Path('a')) as path: save_file({'a': np.zeros(10**5)}, path / 'a.safetensors')"
    ),
    "numpy": (
        "import numpy as np; from pathlib import Path; from equiview.io import atomic_path\n"
        "with atomic_path(Path('a.npy')) as path: np.save(path, np.zeros(10**5))"
    ),
    "a picture": (
        "import numpy as np; from pathlib import Path; from equiview.io import write_image\n"
        "write_image(Path('a.png'), np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8))"
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_of_file_size_is_one_message_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    """The limit holds for every writer, C++ and Rust too; Python ignores the signal that comes with it."""
    caught = f"from equiview.errors import EquiviewError\ntry:\n    exec({WRITERS[name]!r})\n"
    caught += "except EquiviewError as error:\n    print(error)"
    command = [sys.executable, "-c", SMALL_FILES + caught]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), check=False, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0 and done.stderr == "", done
    assert done.stdout.count("\n") == 1 and "limit on the size of a file is reached" in done.stdout, done.stdout
    assert not list(tmp_path.iterdir())


def test_room_is_asked_for_where_a_library_would_end_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_space(tmp_path / "a", 1000)
    with pytest.raises(EquiviewError, match="MiB of free disk space"):
        require_space(tmp_path / "a", 2**60)
    monkeypatch.setattr("resource.getrlimit", lambda _: (2**20, 2**20))
    (tmp_path / "a").write_bytes(bytes(2**19))
    require_space(tmp_path / "a", 2**19)
    with pytest.raises(EquiviewError, match=r"room for 1 MiB, found a limit .* leaves 0 MiB"):
        require_space(tmp_path / "a", 2**19 + 1)


def _script(*words: object) -> tuple[int, str, str]:
    """Run the script that pip installed, as a user's shell does."""
    script = Path(sys.executable).with_name("equiview")
    command = [str(script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


CONSOLE: dict[str, tuple[Callable[[Path], tuple[object, ...]], str]] = {
    "JSON without end": (lambda d: ("report", _bytes(d / "summary.json", b"[" * 10**5).parent), "nested too deep"),
    "a huge picture": (lambda d: ("view", _huge_png(d / "a.png"), "--out", d / "out"), "134 million pixels"),
    "an absurd size": (lambda d: ("render", "builtin:mug", "--size", 12_000, "--out", d / "out"), "--size"),
    "half a mesh": (lambda d: ("render", cut(quad_glb(d / "a.glb")), "--out", d / "out"), "truncated"),
    "a capture of nothing": (lambda d: ("epipolar", d, "-b", "equiview/tiny", "--out", d / "out"), "layout"),
    "pairs of another set": (
        lambda d: ("transfer", "--pairs", f"spair:{d}", "-b", "equiview/tiny", "--out", d / "out"),
        "SPair-71k",
    ),
    "a pickle that runs code": (
        lambda d: ("track", "--benchmark", f"tapvid:{_evil(d)}", "-b", "equiview/tiny", "--out", d / "out"),
        "pickle",
    ),
    "a name with a line break": (lambda d: ("features", d / "a\nb.png", "--out", d / "out"), "printable text"),
}


def _evil(folder: Path) -> Path:
    return _bytes(folder / "a.pkl", pickle.dumps({"goat": Evil(folder / "ran")}))


IN_A_SHELL = ("JSON without end", "a pickle that runs code")


@pytest.mark.parametrize("name", CONSOLE)
def test_one_message_and_nothing_written_or_run(run: Run, tmp_path: Path, name: str) -> None:
    """Exit code 2; some as a user's shell runs them, the others in this process, which has imported the libraries."""
    words, said = CONSOLE[name]
    code, out, err = (_script if name in IN_A_SHELL else run)(*words(tmp_path))
    assert (code, out) == (2, ""), err
    assert said in err and "Traceback" not in err
    assert not (tmp_path / "out").exists() and not (tmp_path / "ran").exists() and not leftovers(tmp_path)
