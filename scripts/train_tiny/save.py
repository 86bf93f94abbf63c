"""Write a trained student as the folder that equiview ships: fp16 safetensors in `transformers` format.

python scripts/train_tiny/save.py --run runs/tiny/final --teacher FOLDER --out src/equiview/models/weights/tiny
"""

import argparse
from pathlib import Path

import torch
from student import new_student
from torch.nn.utils import parametrize
from train import Teacher
from transformers import ViTConfig, ViTModel

from equiview.io import atomic_folder, write_json


def trained(run: Path, shape: ViTConfig) -> ViTModel:
    """Return the student of a run's last checkpoint, an ordinary ViTModel; `shape` is its teacher's config."""
    student = new_student(shape, 0)
    student.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["student"])
    parametrize.remove_parametrizations(student.embeddings.patch_embeddings.projection, "weight")
    return student.eval()


def save_folder(student: ViTModel, mean: tuple, std: tuple, folder: Path) -> None:
    """Write config.json, preprocessor_config.json and model.safetensors, complete or not at all."""
    with atomic_folder(folder) as temporary:
        student.half().save_pretrained(temporary)
        write_json(temporary / "preprocessor_config.json", {"image_mean": list(mean), "image_std": list(std)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="for the mean and deviation of its pictures")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    teacher = Teacher(args.teacher)
    save_folder(trained(args.run, teacher.model.config), teacher.info.mean, teacher.info.std, args.out)
    print(f"Wrote {args.out}")


if __name__ == "__main__":
    main()
