"""The live part of a page: thumbnails, similarity to a chosen point in every view, and the scripts that compute it."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float

from .. import __version__
from ..draw.live.pack import Pack, PackedView
from ..errors import bad_input
from ..io import atomic_path
from .boxes import fold
from .drawing import data_uri
from .html import Html, h, join
from .numbers import number
from .run import LABELS

MAX_PAGE_BYTES = 15_000_000
SCRIPTS = ("decode.js", "match.js", "draw.js", "build.js", "page.js", "start.js")
UNKNOWN, FULL = 65535, 65534
HINT = (
    "Hover over the large picture, or click or tap to pin a point: every other view shows how similar its tokens are "
    "to that point. The cross is the best match, the ring the true place where it is known."
)
MORE = (
    "Keys: Tab to the picture, arrows move by one token, Enter pins, Escape frees, 1-9 and [ ] change the view. The "
    "best match is the arg-max over tokens with a parabola between them. Near a point with a known true place the "
    "question snaps to it. Colours begin at the median cosine. All is computed in this page, from reduced features:"
)


def script() -> str:
    """Return the scripts as one function, so that they leave nothing behind but `window.equiviewLive`."""
    folder = files(__package__).joinpath("script")
    text = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{text}}})();\n'


def policy(base: str) -> str:
    """Return a content policy that lets this very script run, and no other."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    return f"{base}; script-src 'sha256-{digest}'"


def style() -> str:
    """Return the rules of the live part."""
    return files(__package__).joinpath("live.css").read_text(encoding="utf-8")


def live_section(packs: Sequence[Pack]) -> Html:
    """Return the live part: where it is drawn, what the packing costs, the data and the scripts."""
    colours = np.round(255 * mpl.colormaps["viridis"](np.linspace(0, 1, 33))[:, :3]).astype(int).tolist()
    data = json.dumps({"colours": colours, "scenes": [_scene(pack) for pack in packs]}, allow_nan=False)
    without = h("noscript", h("p", "This part needs JavaScript; everything else on the page does not.", class_="hint"))
    return join(
        h("p", HINT, class_="hint"),
        without,
        h("div", class_="live", id="live-part"),
        fold(
            "Keys, and what the reduction costs",
            h("p", MORE),
            h("ul", *(h("li", w) for p in packs for w in loss_words(p))),
        ),
        # "<" cannot end the element when it is written as an escape.
        Html(f'<script type="application/json" id="live-data">{data.replace("<", chr(92) + "u003c")}</script>'),
        Html(f"<script>{script()}</script>"),
    )


def _scene(pack: Pack) -> dict[str, Any]:
    variants = [
        {
            "name": name,
            "label": LABELS.get(name, name),
            "scale": [float(f"{value:.6g}") for value in pack.scales[name]],
            "tokens": base64.b64encode(tokens.tobytes()).decode(),
        }
        for name, tokens in pack.tokens.items()
    ]
    return {"name": pack.name, "variants": variants, "views": [_view(view, pack.views) for view in pack.views]}


def _view(view: PackedView, views: Sequence[PackedView]) -> dict[str, Any]:
    places = zip(views, view.xy_true, strict=True)
    return {
        "name": view.name,
        "hw": view.image_hw,
        "grid": view.grid_hw,
        "stride": view.stride_xy,
        "offset": view.offset_xy,
        "jpeg": data_uri(view.jpeg, "jpeg"),
        "xy": _shares(view.xy, view.image_hw),
        "truth": [_shares(xy, other.image_hw) for other, xy in places],
    }


def _shares(xy: Float[np.ndarray, "n 2"], image_hw: tuple[int, int]) -> str:
    """Write pixels as 16-bit shares of the picture's width and height; the highest number means unknown."""
    shares = np.rint(np.clip(np.nan_to_num(xy) / (image_hw[1], image_hw[0]), 0, 1) * FULL)
    shares[~np.isfinite(xy)] = UNKNOWN
    return base64.b64encode(shares.astype("<u2").tobytes()).decode()


def loss_words(pack: Pack) -> list[str]:
    """Say what packing costs, one sentence a variant."""
    return [_words(pack.name, variant, loss) for variant, loss in pack.loss.items()]


def _words(name: str, variant: str, loss: Mapping[str, Any]) -> str:
    head = f"{name}, {LABELS.get(variant, variant).lower()}: {loss['channels']} channels of 8 bits"
    if not loss["n"]:
        return f"{head}; the loss could not be measured."
    text = (
        f"{head}; against the full features {number(100 * loss['moved_share'], 1)} % of {loss['n']} best matches move "
        f"by more than one token, their cosine changes by {number(loss['cosine_error'], 3)}"
    )
    if loss["pcdp_full"] is None:
        return f"{text}."
    return f"{text}, PCDP@0.05 is {number(loss['pcdp_packed'], 1)} in place of {number(loss['pcdp_full'], 1)} %."


def write_live_page(pack: Pack, path: Path, about: str = "") -> Path:
    """Write a page that holds the live part alone.

    Args:
        pack: What it shows.
        path: Of the page.
        about: Names the features under the title: backbone, adapter, strength.

    Raises:
        EquiviewError: It would be larger than 15 MB, or cannot be written.
    """
    from .page import page_head

    title = f"equiview: {pack.name}"
    header = h("header", h("h1", pack.name), h("p", _subtitle(pack, about), class_="sub"))
    footer = h("footer", f"Written by equiview {__version__}.")
    body = h("body", header, h("main", live_section([pack]), id="main"), footer, class_="wide")
    text = f"<!DOCTYPE html>\n{h('html', page_head(title, live=True), body, lang='en')}\n"
    if len(text.encode()) > MAX_PAGE_BYTES:
        found, fix = f"{len(text) / 1e6:.1f} MB", "Use fewer pictures or a smaller --long-side."
        raise bad_input(str(path), "a page of at most 15 MB", found, fix)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _subtitle(pack: Pack, about: str) -> str:
    words = [f"{len(pack.views)} view{'s' * (len(pack.views) != 1)}"]
    words += [" and ".join(LABELS.get(name, name).lower() for name in pack.tokens) + " features"]
    return " \u00b7 ".join([*words, about] if about else words)
