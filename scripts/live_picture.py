"""Draw the live part of a run's page as the docs show it, with Chromium and its driver:

equiview improve -b equiview/tiny --train-object builtin:camera --test-objects builtin:mug builtin:teapot \
    --recipe one-step --views 8 --points 100 --out runs/live
python scripts/live_picture.py --page runs/live/report.html --out docs/img/live.png
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from webdriver import browser

READY = "return window.equiviewLive && !window.equiviewLive.waiting && window.equiviewLive.results.length > 0"
SOURCE = (
    "document.getElementById('live')?.scrollIntoView();"
    "const b = document.querySelector('canvas.source').getBoundingClientRect();"
    "return [b.left, b.top, b.width, b.height]"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, nargs=2, default=[1400, 900])
    parser.add_argument(
        "--at", type=float, nargs=2, default=[0.5, 0.5], help="Share of the picture's width and height."
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
        page.resize(*args.size)
        page.open(args.page)
        page.wait(READY)
        left, top, width, height = page.run(SOURCE)
        x, y = left + args.at[0] * width, top + args.at[1] * height
        page.point("mouse", ("move", x, y), ("down", x, y), ("up", x, y))
        page.wait(READY)
        time.sleep(0.5)
        page.screenshot(args.out)
        print(page.run("return window.equiviewLive.ms"), "ms;", page.errors() or "no errors")
    Image.open(args.out).convert("RGB").save(args.out, optimize=True)
    print(f"Wrote {args.out}, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
