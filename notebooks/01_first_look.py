# %% [markdown]
# # First look
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/equiview/blob/main/notebooks/01_first_look.ipynb)
#
# A Vision Transformer gives every patch of a picture a feature. How well do the features of two pictures agree on where the same
# point of an object is? This notebook matches two pictures, colours features by their main components, measures the error
# against exact truth, and shows the interactive page. It runs offline in about a minute on two CPU cores: the small network
# `equiview/tiny` and the object come with the package. For real work take a large one, such as `facebook/dinov2-base`.

# %%
# %pip install --quiet equiview

# %% [markdown]
# ## Two pictures
#
# The mug is rendered, so that nothing has to be downloaded. Two photographs of your own do as well; then leave out the mask.

# %%
# !equiview render builtin:mug --views 6 --size 384 --pictures --out mug --quiet
# !equiview match mug/pictures/0000.png mug/pictures/0003.png --mask0 mug/masks/0000.png --features auto --out runs/match

# %% [markdown]
# A match is a pair of patches that are each other's nearest neighbour by cosine. The colour of a dot is its place in the left
# picture: where the features agree, the right picture shows the same colours in the same arrangement.

# %%
from IPython.display import HTML, Image

Image("runs/match/matches.png", width=720)

# %% [markdown]
# ## How far off is it?
#
# A rendered view knows the 3D point behind every pixel, so the error of every match is known. `equiview measure` does this for
# whole sets of objects and writes a report with intervals.

# %%
import numpy as np
import torch

import equiview

views = equiview.open_source("mug", n_views=6, cache_dir="cache")
truth = equiview.correspond(views[0], views[3], equiview.sample_surface(views[0], 300, seed=0))

model = equiview.load("equiview/tiny", blocks=(4, 6, 8, 10))  # four of the twelve blocks
maps = list(model.maps(views))
matches = equiview.match(equiview.descriptors(maps[0], torch.from_numpy(truth.xy0).float()), maps[3])

error = np.linalg.norm(matches.xy1.numpy() - truth.xy1, axis=1) / min(views[3].camera.hw)
print(f"{len(truth)} points are visible in both views, which are {truth.angle_deg:.0f} degrees apart")
print(f"found within 5 % of the picture's edge: {(error < 0.05).mean():.0%}; median error {np.median(error):.1%}")

# %% [markdown]
# ## What the features see
#
# The three main components of the mug's features as red, green and blue, one basis for all pictures: the same colour means a
# similar feature. Where a part changes its colour as the camera moves, its feature changes. `equiview features` writes such
# pictures of a folder.

# %%
from PIL import Image as Picture

from equiview.draw.report_pictures import pca_colors

colours = pca_colors(maps, [view.mask for view in views])
rows = [[view.rgb for view in views], [np.uint8(255 * colour) for colour in colours]]
Picture.fromarray(np.vstack([np.hstack([Picture.fromarray(one).resize((192, 192)) for one in row]) for row in rows]))

# %% [markdown]
# ## Try it yourself
#
# Move the mouse over the large picture: the others show how similar every place is to that point, and where the best match is.

# %%
# !equiview view mug/pictures/0000.png mug/pictures/0003.png mug/pictures/0004.png --features auto --long-side 256 --out runs/look --quiet

# %%
from html import escape
from pathlib import Path

page = escape(Path("runs/look/index.html").read_text(), quote=True)
HTML(f'<iframe srcdoc="{page}" width="100%" height="720" style="border: 0"></iframe>')

# %% [markdown]
# Next: [adapt the features to your object](02_adapt_to_your_object.ipynb).
