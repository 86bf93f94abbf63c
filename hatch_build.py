"""Records the commit in what is built, so that `equiview --version` can say it."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE = "src/equiview/commit.txt"


class RecordCommit(BuildHookInterface):  # type: ignore[type-arg]
    """Adds `commit.txt` to wheels and source archives; a checkout that is installed in place asks git itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file; what it says comes from EQUIVIEW_COMMIT, the source archive, or git."""
        root = Path(self.root)
        if version == "editable" or (root / INSIDE).is_file():
            return
        commit = os.environ.get("EQUIVIEW_COMMIT") or _of_checkout(root)
        if commit:
            self.folder = tempfile.TemporaryDirectory()
            file = Path(self.folder.name) / "commit.txt"
            file.write_text(f"{commit}\n", encoding="utf-8")
            place = INSIDE if self.target_name == "sdist" else INSIDE.removeprefix("src/")
            build_data["force_include"][str(file)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the file."""
        if hasattr(self, "folder"):
            self.folder.cleanup()


def _of_checkout(root: Path) -> str | None:
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
