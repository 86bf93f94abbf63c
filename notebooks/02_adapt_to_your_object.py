# %% [markdown]
# # Adapt to your object
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/equiview/blob/main/notebooks/02_adapt_to_your_object.ipynb)
#
# One object, rendered from a few views, teaches a small adapter which places are the same; other objects then tell whether that
# holds in general. Here everything is small, so that it takes about a minute on two CPU cores: one gradient step, six views, two
# test objects. For your own: a mesh file in place of `builtin:mug`, five or more test objects, a large backbone such as
# `facebook/dinov2-base`, and the recipe `default`.

# %%
# %pip install --quiet equiview

# %% [markdown]
# ## Train on one object, test on others

# %%
# !equiview improve --backbone equiview/tiny --train-object builtin:mug --test-objects builtin:teapot builtin:bottle --recipe one-step --views 6 --points 100 --out runs/mug --quiet

# %% [markdown]
# The run folder holds the report (`report.html`), every score, and the adapter. The controls say what an improvement is made of:
# *nothing learned* has the adapter's blocks, averages and whitening, but nothing that was learned from the object. Two objects
# are too few for an interval, so take the numbers as an indication.
#
# The same points of an object nothing was trained on, before (above) and after: green is within 5 % of the picture's edge.

# %%
import numpy as np
from PIL import Image

from equiview.draw.before_after import before_after_picture

with np.load("runs/mug/pictures/builtin-teapot.npz") as arrays:
    picture = before_after_picture(arrays)
Image.fromarray(picture)

# %% [markdown]
# ## Use the adapter
#
# It is a small folder; with it the backbone is a torch module. `strength` says how much of it is applied.

# %%
from pathlib import Path

import torch

import equiview

model = equiview.load("equiview/tiny", adapter="runs/mug")
with torch.no_grad():
    maps = model(torch.rand(1, 3, 240, 320))
size = sum(path.stat().st_size for path in Path("runs/mug/adapter").iterdir())
print("dense features", tuple(maps.shape), "adapter", f"{size / 1024:.0f} KiB")

# %% [markdown]
# `equiview export --backbone equiview/tiny --adapter runs/mug --out mug-model` writes a folder that `transformers` loads without
# equiview, `--onnx` an ONNX file, and `equiview push runs/mug me/mug-adapter` puts the adapter on the Hugging Face Hub.
#
# Next: [adapt to photographs](03_adapt_to_your_capture.ipynb).
