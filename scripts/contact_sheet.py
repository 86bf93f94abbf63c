"""Draw objects in a row each, from a few directions: the pictures of the docs.

python scripts/contact_sheet.py --out docs/img/builtin.png
python scripts/contact_sheet.py --out docs/img/procedural.png --objects procedural:1 procedural:11 --views 1 20
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from equiview.data.meshes import open_mesh
from equiview.data.synthetic.builtin import BUILTINS
from equiview.render import RenderConfig, paper42, render_views

SIDE, CUT = 320, 48  # pixels drawn, and cut off at each edge of the drawing: objects fill the middle of the paper's rig


def row(source: str, views: list[int]) -> np.ndarray:
    """Return the object's pictures side by side, its name in the corner."""
    cameras = [paper42((SIDE, SIDE))[i] for i in views]
    drawn = render_views(open_mesh(source), cameras, RenderConfig(hw=(SIDE, SIDE), background="white", supersample=3))
    image = Image.fromarray(np.concatenate([view.rgb[CUT:-CUT, CUT:-CUT] for view in drawn], 1))
    ImageDraw.Draw(image).text((6, 4), source, fill=(90, 90, 90))
    return np.asarray(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--objects", nargs="+", default=[f"builtin:{name}" for name in BUILTINS])
    parser.add_argument("--views", type=int, nargs="+", default=[11, 20, 40])
    parser.add_argument("--columns", type=int, default=2)
    args = parser.parse_args()
    rows = [row(source, args.views) for source in args.objects]
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % args.columns)
    lines = [np.concatenate(rows[i : i + args.columns], 1) for i in range(0, len(rows), args.columns)]
    Image.fromarray(np.concatenate(lines, 0)).quantize(256).save(args.out, optimize=True)
    print(f"Wrote {args.out}")


if __name__ == "__main__":
    main()
