"""Which commit of equiview this is: recorded when a wheel is built, asked of git in a checkout."""

import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
COMMIT_FILE = "commit.txt"
"""Written into wheels and source archives by hatch_build.py."""
GIT_SECONDS = 5


def commit(package: Path = PACKAGE) -> str | None:
    """Return the commit, with `-dirty` where files of a checkout were changed; None where nobody knows.

    Args:
        package: The folder of the package.
    """
    recorded = package / COMMIT_FILE
    if recorded.is_file():
        return recorded.read_text(encoding="utf-8").strip()
    root = package.parents[1]
    # Not any repository that an environment happens to lie in.
    if not (root / ".git").exists() or package != root / "src" / "equiview":
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):  # No git, or one that refuses this checkout.
        return None
    return done.stdout.strip() or None


def version_words(version: str) -> str:
    """Return the version with the commit behind it, where it is known."""
    found = commit()
    return version if found is None else f"{version} (commit {found})"
