"""A shortened training of the bundled backbone: it learns, resumes exactly, and what it saves is an ordinary folder."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig

import equiview
from equiview.errors import EquiviewError
from equiview.io import read_jsonl

FOLDER = Path(__file__).resolve().parents[2] / "scripts" / "train_tiny"


@pytest.fixture(scope="module")
def scripts():
    """The training's modules, with small pictures and few of them."""
    if not FOLDER.is_dir():
        pytest.skip("the training scripts are not part of this copy")
    sys.path.insert(0, str(FOLDER))
    import pictures
    import save
    import student
    import train

    sys.path.remove(str(FOLDER))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"OBJECTS": 1, "VIEWS": 2, "LEAVES": 2, "SIDE": 48, "SIDES": ((32, 1.0),)}.items():
            patch.setattr(pictures, name, value)
        patch.setattr(pictures, "TOKENS", 16)
        for name, value in {"SCALE_BATCHES": 4, "LOG_EVERY": 2, "SAVE_EVERY": 4}.items():
            patch.setattr(train, name, value)
        yield type("Scripts", (), {"pictures": pictures, "save": save, "student": student, "train": train})


@pytest.fixture(scope="module")
def teacher(scripts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    shape = ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=16
    )
    model = scripts.student.new_student(shape, seed=7)
    torch.nn.utils.parametrize.remove_parametrizations(model.embeddings.patch_embeddings.projection, "weight")
    scripts.save.save_folder(model, (0.5,) * 3, (0.25,) * 3, folder / "model")
    return scripts.train.Teacher(folder / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(11):
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")
    return folder


def test_it_learns_and_is_saved(scripts, teacher, photos, tmp_path):
    settings = scripts.train.Settings(steps=40)
    scripts.train.train(teacher, photos, tmp_path / "run", settings)
    rows = read_jsonl(tmp_path / "run" / "log.jsonl")
    assert [row["step"] for row in rows] == list(range(2, 41, 2))
    first, last = (np.mean(row["unexplained"]) for row in (rows[0], rows[-1]))
    assert last < 0.8 * first
    assert rows[0]["own_share"] < 0.1 and rows[-1]["own_share"] == 1
    student = scripts.save.trained(tmp_path / "run", teacher.model.config)
    scripts.save.save_folder(student, teacher.info.mean, teacher.info.std, tmp_path / "model")
    info = equiview.load_backbone(tmp_path / "model").info
    assert (info.family, info.patch, info.dim, info.blocks, info.mean) == ("vit", 16, 32, 3, (0.5, 0.5, 0.5))


def test_an_interrupted_training_goes_on_exactly(scripts, teacher, photos, tmp_path, monkeypatch):
    settings = scripts.train.Settings(steps=8)
    whole = scripts.train.train(teacher, photos, tmp_path / "whole", settings).state_dict()
    made, batch = [], scripts.train.batch

    def stop_at_the_sixth(sources, mix, seed, step):
        made.append(step)
        if made.count(5):
            raise KeyboardInterrupt
        return batch(sources, mix, seed, step)

    with monkeypatch.context() as patch:
        patch.setattr(scripts.train, "batch", stop_at_the_sixth)
        with pytest.raises(KeyboardInterrupt):
            scripts.train.train(teacher, photos, tmp_path / "parts", settings)
    again = scripts.train.train(teacher, photos, tmp_path / "parts", settings).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    with pytest.raises(EquiviewError, match="another run"):
        scripts.train.train(teacher, photos, tmp_path / "parts", scripts.train.Settings(steps=9))


def test_the_student_alone_is_the_student_that_is_handed_nothing(scripts, teacher):
    student = scripts.student.new_student(teacher.model.config, seed=1).eval()
    pixels = teacher.pixels(torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)))
    given = teacher.states(pixels)
    with torch.no_grad():
        own = scripts.student.states(student, pixels)
        handed = scripts.student.handed_states(student, pixels, given, own_share=1.0, seed=0)
        alone = scripts.student.handed_states(student, pixels, given, own_share=0.0, seed=0)
        expected = [student.layers[0](given[0].float()), student.layernorm(given[-2].float())]
    assert all(torch.equal(a, b) for a, b in zip(own, handed, strict=True))
    assert torch.allclose(alone[1], expected[0], atol=1e-5) and torch.allclose(alone[-1], expected[1], atol=1e-5)


def test_held_out_photos_are_never_learned_from(scripts, photos):
    learned, held = (scripts.pictures.read_photos(photos, held_out=flag) for flag in (False, True))
    assert (len(learned), len(held)) == (9, 2)
    assert not {p.tobytes() for p in learned} & {p.tobytes() for p in held}
