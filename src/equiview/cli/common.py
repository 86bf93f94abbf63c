"""What every command shares: consoles, errors as exit codes, results as text or JSON."""

import errno
import functools
import json
import logging
import math
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.text import Text

from ..errors import VALUE_CHARS, EquiviewError, bad_input, cut, one_line
from ..limits import MAX_SETTING

P = ParamSpec("P")
EXIT_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED = 2, 130, 143
logger = logging.getLogger("equiview")


@dataclass
class Settings:
    """The flags that hold for the whole process."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False


SETTINGS = Settings()
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def examples(*lines: str) -> str:
    """Return the end of a help text, with lines that can be copied as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def stderr() -> Console:
    """Return the console for everything that is not the result."""
    return Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


class StderrHandler(logging.Handler):
    """Writes one line a message to wherever stderr is now: while bars are drawn, rich puts the lines above them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message, with its level when it is a warning or worse."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        sys.stderr.write(f"{level}{self.format(record)}\n")


def setup_logging() -> None:
    """Send the package's log to stderr at the level the flags ask for."""
    logger.handlers = [StderrHandler()]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if SETTINGS.verbose else logging.ERROR if SETTINGS.quiet else logging.INFO)


class Terminated(KeyboardInterrupt):
    """SIGTERM: everything that gives way to Ctrl-C gives way to it too."""


@contextmanager
def terminated() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM, as Python does with Ctrl-C; signals can be caught in the main thread only."""

    def stop(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn what a command raises into one message and an exit code: 2 bad input, 130 Ctrl-C, 143 SIGTERM."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            check_given(kwargs)
            with terminated():
                function(*args, **kwargs)
        except KeyboardInterrupt as stopped:
            again = shlex.join(["equiview", *sys.argv[1:]])
            stderr().print(escape(f"\nStopped. What was finished is kept; the same command resumes it:\n  {again}"))
            raise typer.Exit(EXIT_TERMINATED if isinstance(stopped, Terminated) else EXIT_INTERRUPTED) from None
        except (EquiviewError, OSError, MemoryError, RuntimeError) as error:
            message = str(error) if isinstance(error, EquiviewError) else environment_message(error)
            if SETTINGS.debug or message is None:
                raise
            stderr().print(escape(message), style="red")
            raise typer.Exit(EXIT_ERROR) from None

    return run


def check_given(options: Mapping[str, object]) -> None:
    """Check what holds for every option: numbers are finite, names can be written down in one line.

    Raises:
        EquiviewError: One is not.
    """
    for name, value in options.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            shown = f"--{name.replace('_', '-')}"
            if isinstance(one, float) and not math.isfinite(one):
                raise bad_input(shown, "a finite number", str(one), "Give a number, or leave it out.")
            if isinstance(one, str | Path) and _UNPRINTABLE.search(str(one)):
                fix = "Rename it: no line breaks, NUL or other control characters, and UTF-8."
                raise bad_input(shown, "a name in printable text", ascii(str(one))[:80], fix)


def environment_message(error: OSError | MemoryError | RuntimeError) -> str | None:
    """Return what to say about a machine that refuses; None for an error that is more likely ours."""
    # By name: torch is loaded inside the commands only, and its out-of-memory error is a RuntimeError.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"There is not enough memory ({error}). Use smaller pictures, or fewer views or points."
    if isinstance(error, RuntimeError):
        return None
    where = f"{cut(one_line(str(error.filename)), VALUE_CHARS)}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}The disk is full. Free some space and run the same command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG):
        return f"{where}{error.strerror}. Check the path and the rights to it."
    return None


def finish(result: Mapping[str, object], wrote: Iterable[Path], as_json: bool, *shown: RenderableType | None) -> None:
    """Write the result to stdout.

    Args:
        result: What --json gives, with "wrote" added.
        wrote: Files and folders that now exist.
        as_json: Machine-readable, and nothing else.
        shown: What a person gets instead, before the list of files; text is taken as it is, without markup.
    """
    paths = [str(path) for path in wrote]
    if as_json:
        sys.stdout.write(json.dumps({**result, "wrote": paths}, indent=2, allow_nan=False) + "\n")
        return
    # A pipe has no width; 100 columns keep the tables whole.
    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 100)
    for item in shown:
        if item is not None:
            console.print(Text(item) if isinstance(item, str) else item)
    for path in paths:
        console.print(f"Wrote {escape(path)}", soft_wrap=True)


def parse_settings(items: Iterable[str]) -> dict[str, str]:
    """Read `key=value` overrides of a recipe.

    Raises:
        EquiviewError: One has no "=", or a number that is absurd.
    """
    found = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise bad_input("--set", "key=value, such as steps=50 or lora.rank=8", repr(item), "Write it so.")
        if not _sane(value):
            raise bad_input(f"--set {key}", f"numbers up to {MAX_SETTING:,}", value[:80], "Choose a smaller one.")
        found[key.strip()] = value
    return found


def _sane(value: str) -> bool:
    """Say whether a setting is no number, or one that a machine can stand."""
    try:
        return abs(float(value)) <= MAX_SETTING
    except ValueError:
        return True
