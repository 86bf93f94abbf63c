"""HTML that cannot be broken by a name: text is escaped unless it was built here."""

import re
from html import escape

VOID = frozenset({"br", "meta", "img"})
SVG_EMPTY = frozenset(
    {"image", "use", "circle", "line", "path"}
)  # In SVG an element that is not closed holds the next.


class Html(str):
    """Markup that is already safe; every other string is text and gets escaped."""

    __slots__ = ()


def h(tag: str, *children: object, **attributes: object) -> Html:
    """Build one element.

    Args:
        tag: Its name.
        children: `Html` goes in as it is, anything else as escaped text; None and "" are left out.
        attributes: A trailing underscore is dropped (`class_`), an inner one becomes "-" (`aria_label`); True
            writes the bare name, None and False leave it out.
    """
    opening = f"<{tag}{''.join(_attribute(k, v) for k, v in attributes.items())}{'/' if tag in SVG_EMPTY else ''}>"
    return Html(opening if tag in VOID | SVG_EMPTY else f"{opening}{join(*children)}</{tag}>")


def join(*children: object) -> Html:
    """Put pieces one after the other, escaping what is plain text."""
    return Html("".join(c if isinstance(c, Html) else escape(str(c)) for c in children if c is not None))


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    # SVG's viewBox and friends keep their capitals; Python names only need the underscore rule.
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def typeset(text: str) -> str:
    """Replace the hyphen before a number by a true minus sign."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text)
