"""What every command shares: consoles, errors as exit codes, results as text or JSON."""

import errno
import functools
import json
import logging
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.text import Text

from ..errors import EquiviewError, bad_input

P = ParamSpec("P")
EXIT_ERROR, EXIT_INTERRUPTED = 2, 130
logger = logging.getLogger("equiview")


@dataclass
class Settings:
    """The flags that hold for the whole process."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False


SETTINGS = Settings()


def examples(*lines: str) -> str:
    """Return the end of a help text, with lines that can be copied as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def stderr() -> Console:
    """Return the console for everything that is not the result."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


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


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn what a command raises into one message and an exit code: 2 for bad input, 130 for Ctrl-C."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:
            again = shlex.join(["equiview", *sys.argv[1:]])
            stderr().print(escape(f"\nStopped. What was finished is kept; the same command resumes it:\n  {again}"))
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except (EquiviewError, OSError, MemoryError, RuntimeError) as error:
            message = str(error) if isinstance(error, EquiviewError) else environment_message(error)
            if SETTINGS.debug or message is None:
                raise
            stderr().print(escape(message), style="red")
            raise typer.Exit(EXIT_ERROR) from None

    return run


def environment_message(error: OSError | MemoryError | RuntimeError) -> str | None:
    """Return what to say about a machine that refuses; None for an error that is more likely ours."""
    # By name: torch is loaded inside the commands only, and its out-of-memory error is a RuntimeError.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"There is not enough memory ({error}). Use smaller pictures, or fewer views or points."
    if isinstance(error, RuntimeError):
        return None
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}The disk is full. Free some space and run the same command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG):
        return f"{where}{error.strerror}. Check the path and the rights to it."
    return None


def finish(result: dict[str, Any], wrote: Iterable[Path], as_json: bool, *shown: RenderableType | None) -> None:
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
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    for item in shown:
        if item is not None:
            console.print(Text(item) if isinstance(item, str) else item)
    for path in paths:
        console.print(f"Wrote {escape(path)}", soft_wrap=True)


def resolve_device(name: str) -> str:
    """Return a usable torch device; `auto` is CUDA where there is a card.

    Raises:
        EquiviewError: The name means nothing, or the device is not there.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise bad_input("--device", "auto, cpu, cuda, cuda:1 or mps", repr(name), "Check the spelling.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise bad_input("--device", name, f"{torch.cuda.device_count()} CUDA devices here", "Use --device cpu or auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise bad_input("--device", "mps", "a torch or a machine without it", "Use --device cpu.")
    return name


def parse_blocks(text: str | None) -> tuple[int, ...] | None:
    """Read `4,6,8,10`; None stays None (the backbone's last block, or what the adapter was made for).

    Raises:
        EquiviewError: It is not a list of whole numbers from 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not parts or not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise bad_input("--blocks", "numbers from 1 with commas, such as 4,6,8,10", repr(text), "Block 1 is the first.")
    return tuple(map(int, parts))


def parse_settings(items: Iterable[str]) -> dict[str, str]:
    """Read `key=value` overrides of a recipe.

    Raises:
        EquiviewError: One has no "=".
    """
    found = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise bad_input("--set", "key=value, such as steps=50 or lora.rank=8", repr(item), "Write it so.")
        found[key.strip()] = value
    return found


def quiet_transformers() -> None:
    """Keep the hub client's own bars and warnings off stderr while ours are shown."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
