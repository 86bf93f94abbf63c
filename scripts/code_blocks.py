"""The code blocks of Markdown files; prints the README's quick start as one shell script:

    python scripts/code_blocks.py README.md | bash -euo pipefail

The line that installs equiview is left out: where the script runs, what was built is installed already.
"""

import argparse
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`equiview ([^`]+)`(?!`)")
QUICK_START = "## Quick start"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language ("" where none is named) and its text."""

    language: str
    code: str


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    return [Block(*found) for found in _FENCE.findall(text)]


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level.

    Raises:
        ValueError: There is no such heading.
    """
    level = heading.split(maxsplit=1)[0]
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^{level} |\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise ValueError(f"no heading {heading!r}")
    return found[1]


def commands(code: str) -> list[list[str]]:
    """Return the arguments of every `equiview ...` line, continued lines joined, comments left out."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        parts = (part.strip() for part in line.split("&&"))
        found += [shlex.split(part, comments=True)[1:] for part in parts if part.startswith("equiview ")]
    return found


def inline_commands(text: str) -> list[list[str]]:
    """Return the arguments of every command within a sentence; they may be abridged."""
    return [shlex.split(words) for words in _INLINE.findall(_FENCE.sub("", text).replace("\n", " "))]


def as_script(found: list[Block]) -> str:
    """Return blocks as one shell script: Python blocks go to the interpreter, `pip install` is left out."""
    parts = []
    for block in found:
        if block.language == "python":
            parts.append(f"python - <<'PYTHON'\n{block.code}PYTHON\n")
        else:
            parts.append("".join(f"{line}\n" for line in block.code.splitlines() if not line.startswith("pip install")))
    return "".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    page = parser.parse_args().page.read_text(encoding="utf-8")
    print(as_script(blocks(section(page, QUICK_START))), end="")


if __name__ == "__main__":
    main()
