"""A hook of mkdocs: pages that lie outside docs/, and links that leave it.

README.md is the front page; the changelog, the contributing guide and the notebooks are pages too. A link to any other
file leads to the repository.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the repository's root: their addresses in docs/."""
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")


@event_priority(100)  # Before the plugin that makes pages of notebooks.
def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere."""
    for name, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(File(f"notebooks/{path.name}", str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Point links at pages of the site, or at the repository."""
    return _LINK.sub(lambda found: target(found[1], page.file.src_uri, config.repo_url), markdown)


def target(link: str, page: str, repository: str) -> str:
    """Return where a link of a page leads on the site.

    Args:
        link: Relative to the page's file, without an anchor.
        page: The page's address in docs/.
        repository: Address of the repository.
    """
    file = next((name for name, uri in PAGES.items() if uri == page), f"docs/{page}")
    name = posixpath.normpath(posixpath.join(posixpath.dirname(file), link))
    if name in PAGES or name.startswith(("docs/", "notebooks/")):
        return posixpath.relpath(PAGES.get(name, name.removeprefix("docs/")), posixpath.dirname(page) or ".")
    if not (ROOT / name).exists():
        return link  # mkdocs says that it leads nowhere.
    return f"{repository}/{'tree' if (ROOT / name).is_dir() else 'blob'}/main/{name}"
