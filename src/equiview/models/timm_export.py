"""Export of a merged backbone for `timm`: weights by timm's names, and the config that finds them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from .backbones.timm_names import timm_config, timm_form
from .export import check_plain, open_for_export, write_export
from .extractor import Extractor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

USAGE = """# A backbone written by equiview for timm

```python
import timm
import torch

model = timm.create_model("local-dir:THIS FOLDER", pretrained=True).eval()
images = torch.rand(1, 3, 448, 448)  # RGB in 0..1, whole patches; mean and std are in model.pretrained_cfg
mean, std = (torch.tensor(model.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
with torch.no_grad():
    tokens = model.forward_features((images - mean) / std)[:, model.num_prefix_tokens :]  # [1, n, c], row by row
```

At the size the positions were trained at, the tokens are those of equiview; at others timm resamples positions with
another bicubic kernel, and they differ a little.
"""


def export_timm(
    model: Extractor | str | Path,
    folder: str | Path,
    *,
    adapter: str | Path | None = None,
    strength: float | None = None,
    allow_other_weights: bool = False,
) -> Path:
    """Write the merged backbone as `timm` has it: `timm.create_model("local-dir:FOLDER", pretrained=True)`.

    Args:
        model: An extractor (it is not changed), or the name of a backbone as `load` takes it: a ViT, MAE, DeiT or
            DINOv2, with or without registers.
        folder: Where to; an older export there is replaced as a whole.
        adapter: With a name: the adapter to put on it.
        strength: With an adapter: how much of it, as in `load`; fixed in what is written.
        allow_other_weights: As in `load`.

    Raises:
        EquiviewError: timm has no such architecture, the backbone alone does not give the same features, the folder
            holds other files, or the disk refuses.
    """
    opened = open_for_export(model, adapter, strength, allow_other_weights)
    check_plain(opened, "--timm")
    return write_export(opened, Path(folder), _write, alone=True)


def _write(folder: Path, model: Extractor, merged: "PreTrainedModel") -> None:
    info = model.backbone.info
    form = timm_form(info, merged)
    save_file(form.state, folder / "model.safetensors", metadata={"format": "pt"})
    config = timm_config(info, form) | {"equiview_protocol": model.describe()}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "README.md").write_text(USAGE)
