"""Adapt a backbone on one object, prove it on others, and use the result.

    python examples/03_adapt_and_load.py [BACKBONE]

The same as: equiview improve --backbone BACKBONE --train-object builtin:camera --test-objects ... --recipe one-step
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import equiview


def main(backbone: str, out: Path) -> None:
    # A recipe is a frozen dataclass. `one-step` takes one gradient step of a linear map, which pulls together what
    # the views show of one place; the backbone stays as it is.
    # Small pictures keep this example quick; leave `features` alone for real use.
    recipe = replace(equiview.get_recipe("one-step"), features=equiview.FeatureConfig(long_side=320))
    config = equiview.ImproveConfig(recipe, views=5, points=100)
    summary = equiview.improve(backbone, ["builtin:camera"], ["builtin:mug", "builtin:duck"], out, config)
    for name, part in {"before": summary["before"], **summary["controls"], "after": summary["after"]}.items():
        print(f"{name:14s} PCDP@0.1 = {part['metrics']['pcdp@0.1']['value']:.1f} %")
    print("Two objects are too few for an interval; use five or more to know what a difference is worth.")

    # The adapter travels as a small folder. With it the backbone is a torch module: dense maps, features at points.
    model = equiview.load(backbone, adapter=out)
    pictures = torch.rand(2, 3, 256, 256)
    xy = torch.tensor([[[20.0, 30.0], [200.0, 100.0]], [[128.0, 128.0], [5.0, 250.0]]])
    with torch.no_grad():
        print("dense maps", tuple(model(pictures).shape), "descriptors at points", tuple(model.at(pictures, xy).shape))

    # For programs that know only transformers: AutoModel.from_pretrained(folder, trust_remote_code=True).
    equiview.export(model, out / "exported")
    print("exported:", ", ".join(sorted(path.name for path in (out / "exported").iterdir())))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else "equiview/tiny", Path(folder) / "run")
