"""The one shell of every page: templates that escape whatever they did not make, and nothing fetched from anywhere."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from ..io import atomic_path
from . import numbers

# The browser itself then refuses anything that is not in the file.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@cache
def environment() -> Environment:
    """Return the templates; a name that a template asks for and does not get is an error."""
    loader = PackageLoader(__package__)
    made = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    made.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    made.filters["anchor"] = lambda name: name.replace("_", "-")
    made.filters["typeset"] = numbers.typeset
    made.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return made


def render(template: str, **values: Any) -> Markup:
    """Fill a template; what comes out may be put into another one."""
    return Markup(environment().get_template(template).render(**values))


def render_page(template: str, sections: Mapping[str, str], *, script_policy: str = "", **values: Any) -> str:
    """Return a page.

    Args:
        template: It extends `page.html.j2`, with a block for each section.
        sections: Title by block, in the order of the page.
        script_policy: What the live part adds to the policy; no script runs without.
        values: title, headline, subtitle and lead (`boxes.Lead`), and what the blocks show.
    """
    values = {"lead": None, "live": None, "wide": False} | values
    sheets = ["page.css", *(["live.css"] if script_policy else [])]
    style = "".join(asset(name) for name in sheets)
    shared = {"policy": Markup(POLICY + script_policy), "style": Markup(style), "version": __version__}
    return render(template, sections=sections, **shared, **values)


def asset(name: str) -> str:
    """Return a style sheet or script of the pages."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def write_page(path: str | Path, text: str) -> Path:
    """Write a page atomically and return its path.

    Raises:
        EquiviewError: It cannot be written.
    """
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def backbone_title(name: str) -> str:
    """Return what a headline calls a backbone: of a local path only the end, a hub's name as it is."""
    return Path(name).name if name.count("/") > 1 or Path(name).is_absolute() else name


def counted(n: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{n} {one if n == 1 else many or one + 's'}"
