"""The one exception a user is meant to read."""

import re

VALUE_CHARS = 80
"""Characters of a value that a message repeats; a longer one loses its middle."""
TEXT_CHARS = 300
"""Characters of what is wrong, and of what was found there."""
# Quoted, in brackets, or without a space: a value that came from outside, not our own words.
_LONG_VALUE = re.compile(rf"'[^']{{{VALUE_CHARS},}}'|\"[^\"]{{{VALUE_CHARS},}}\"|\S{{{VALUE_CHARS + 1},}}")
_LONG_LIST = re.compile(rf"\[.{{{VALUE_CHARS},}}\]|\{{.{{{VALUE_CHARS},}}\}}")


class EquiviewError(ValueError):
    """Bad input, an unusable file, or a run that cannot go on.

    The message says what was expected, what was found and what to do. The command line prints it alone,
    without a traceback, and exits with code 2.
    """


def bad_input(what: str, expected: str, found: str, fix: str) -> EquiviewError:
    """Build the error in the form every message of this package has: one line, no matter what is repeated in it.

    Args:
        what: The thing that is wrong, usually a path or a parameter name.
        expected: What it should have been, in our own words: these are never cut.
        found: What it is. Values in it are cut at 80 characters.
        fix: What the reader can do about it.
    """
    found = _LONG_VALUE.sub(_shortened, _LONG_LIST.sub(_shortened, one_line(found)))
    what, found = cut(one_line(what), TEXT_CHARS), cut(found, TEXT_CHARS)
    return EquiviewError(f"{what}: expected {one_line(expected)}, found {found}. {one_line(fix)}")


def shown(value: object) -> str:
    """Return a value from a file as a message repeats it: at most 80 characters; of lists and objects the size."""
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {len(value)} keys"
    if hasattr(value, "shape"):
        return f"an array of shape {tuple(value.shape)}"
    if isinstance(value, int) and not -(10**40) < value < 10**40:
        return "a number of over 40 digits"
    # Not the whole of a text of megabytes.
    return cut(repr(value[: VALUE_CHARS + 1] if isinstance(value, str | bytes) else value), VALUE_CHARS)


def one_line(text: str) -> str:
    """Return a text with line breaks as spaces, and what cannot be printed as its escape sequence."""
    text = " ".join(text.splitlines())
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def cut(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters: a longer one loses its middle."""
    head = (limit - 3) * 3 // 5
    return text if len(text) <= limit else f"{text[:head]}...{text[len(text) - (limit - 3 - head) :]}"


def _shortened(value: re.Match[str]) -> str:
    if "/" in value[0] and " " not in value[0]:  # Of a path the end says which file it is.
        return f"...{value[0][3 - VALUE_CHARS :]}"
    return cut(value[0], VALUE_CHARS)
