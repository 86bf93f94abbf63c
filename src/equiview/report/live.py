"""The live part of a page: thumbnails, similarity to a chosen point in every view, and the scripts that compute it."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from ..draw.live.pack import Pack, PackedView
from ..errors import bad_input
from .drawing import data_uri
from .numbers import number
from .run import LABELS
from .shell import asset, render, render_page, write_page

MAX_PAGE_BYTES = 15_000_000
SCRIPTS = ("decode.js", "match.js", "draw.js", "build.js", "page.js", "start.js")
UNKNOWN, FULL = 65535, 65534


def script() -> str:
    """Return the scripts as one function, so that they leave nothing behind but `window.equiviewLive`."""
    text = "\n".join(asset(f"script/{name}") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{text}}})();\n'


def script_policy() -> str:
    """Return what lets this very script run, and no other: the end of a page's content policy."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    return f"; script-src 'sha256-{digest}'"


def live_part(packs: Sequence[Pack]) -> Markup:
    """Return the live part: where it is drawn, what the packing costs, the data and the scripts."""
    colours = np.round(255 * mpl.colormaps["viridis"](np.linspace(0, 1, 33))[:, :3]).astype(int).tolist()
    return render(
        "live_part.html.j2",
        losses=[words for pack in packs for words in loss_words(pack)],
        data={"colours": colours, "scenes": [_scene(pack) for pack in packs]},
        script=Markup(script()),
    )


def _scene(pack: Pack) -> dict[str, object]:
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


def _view(view: PackedView, views: Sequence[PackedView]) -> dict[str, object]:
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
    text = render_page(
        "live.html.j2",
        {"live": "Live"},
        script_policy=script_policy(),
        title=f"equiview: {pack.name}",
        headline=pack.name,
        subtitle=_subtitle(pack, about),
        live=live_part([pack]),
        wide=True,
    )
    if len(text.encode()) > MAX_PAGE_BYTES:
        found, fix = f"{len(text) / 1e6:.1f} MB", "Use fewer pictures or a smaller --long-side."
        raise bad_input(str(path), "a page of at most 15 MB", found, fix)
    return write_page(path, text)


def _subtitle(pack: Pack, about: str) -> str:
    words = [f"{len(pack.views)} view{'s' * (len(pack.views) != 1)}"]
    words += [" and ".join(LABELS.get(name, name).lower() for name in pack.tokens) + " features"]
    return " \u00b7 ".join([*words, about] if about else words)
