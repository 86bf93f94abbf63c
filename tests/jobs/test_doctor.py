"""The doctor: looks at everything, breaks nothing, leaves nothing, and says what to do."""

import errno
import json

import pytest

from equiview.errors import EquiviewError
from equiview.jobs import doctor


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Answer for the hub at once."""
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *args, **kwargs: None)


def by_part(findings):
    return {one.part: one for one in findings}


def test_a_working_installation(tmp_path):
    found = by_part(doctor.examine(tmp_path))
    for part in ("equiview", "packages", "bundled backbone", "renderer", "this folder", "processor"):
        assert found[part].status == "ok", found[part]
    assert "12 blocks" in found["bundled backbone"].found
    assert list(tmp_path.iterdir()) == []


def test_missing_parts_say_what_they_would_enable(tmp_path, monkeypatch):
    def no_hub(*args, **kwargs):
        raise OSError("Network is unreachable")

    def no_gl():
        raise EquiviewError("no OpenGL here")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_hub)
    monkeypatch.setattr("equiview.render.gl.device_name", no_gl)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr(doctor, "EXTRAS", {"no-such-package": ("some", "something fast")})
    found = by_part(doctor.examine(tmp_path))
    for part in ("Hugging Face hub", "OpenGL", "GPU", "extra some"):
        assert found[part].status == "missing" and found[part].advice, found[part]
    assert "something fast: pip install 'equiview[some]'" in found["extra some"].advice


def test_what_is_broken_is_called_broken(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    monkeypatch.setattr("equiview.models.backbones.TINY_FOLDER", tmp_path / "gone")
    found = by_part(doctor.examine(tmp_path))
    assert found["this folder"].status == "broken" and "No space left" in found["this folder"].found
    assert found["bundled backbone"].status == "broken"


def test_a_folder_that_is_not_there_yet_is_looked_at_from_above(tmp_path):
    assert by_part(doctor.examine(tmp_path / "not" / "yet"))["this folder"].status == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", [False, True])
def test_the_command(broken, monkeypatch, run):
    second = doctor.Finding("GPU", "broken" if broken else "missing", "none", "Buy one.")
    monkeypatch.setattr(doctor, "examine", lambda folder: [doctor.Finding("equiview", "ok", "0.1"), second])
    (code, text, _), (json_code, told, _) = run("doctor"), run("doctor", "--json")
    assert code == json_code == (2 if broken else 0)
    assert ("Broken: GPU." if broken else "Everything that equiview needs is here.") in text
    assert "Buy one." in text
    assert json.loads(told)["broken"] == (["GPU"] if broken else [])
