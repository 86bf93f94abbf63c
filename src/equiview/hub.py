"""The Hugging Face hub: what a name there means, the files of one commit, and a folder pushed as one commit."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import EquiviewError, bad_input, one_line

log = logging.getLogger(__name__)

# An owner and a name; a revision is a branch, a tag or a commit.
_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(\S+))?")
ANSWER_SECONDS = 5.0
"""A hub that has not answered within this time is taken for out of reach."""
LOGIN = "Log in with `hf auth login`, or set HF_TOKEN."


@dataclass(frozen=True)
class HubName:
    """A repository of the hub as a user writes it: OWNER/NAME, or OWNER/NAME@REVISION.

    Attributes:
        repo: OWNER/NAME.
        revision: A branch, tag or commit; None is the main branch.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


@dataclass(frozen=True)
class HubCommit:
    """Where files came from.

    Attributes:
        repo: OWNER/NAME.
        revision: The commit, 40 hexadecimal digits, whatever it was asked for by.
    """

    repo: str
    revision: str


def hub_name(text: str) -> HubName | None:
    """Return the repository a text names; None for what can only be a path."""
    found = _NAME.fullmatch(text)
    return None if found is None else HubName(found[1], found[2])


def download(name: HubName, files: Sequence[str], needed: str) -> tuple[Path, HubCommit]:
    """Return a folder with these files of one commit, from the cache or fresh, and which commit that is.

    The hub is asked which commit a branch or tag is now; only where it cannot be reached, the commit that the cache
    knows is used instead, with a warning. A commit that is in the cache is used without asking.

    Args:
        name: The repository.
        files: Names of files, the only ones that are fetched; those it does not have are left out.
        needed: The file without which the repository is of no use here.

    Raises:
        EquiviewError: There is no such repository or revision, it lacks the needed file, or the hub cannot be reached
            and the cache has no copy.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import httpx

    if name.revision is not None and re.fullmatch(r"[0-9a-f]{40}", name.revision):
        cached = _cached(name, files)
        if cached is not None:
            return cached
    try:
        info = HfApi().model_info(name.repo, revision=name.revision, timeout=ANSWER_SECONDS)
        _require(needed, name, [file.rfilename for file in info.siblings or []])
        folder = snapshot_download(
            name.repo, revision=name.revision, allow_patterns=list(files), etag_timeout=ANSWER_SECONDS
        )
    except HFValidationError as error:
        raise bad_input(str(name), "a hub name, OWNER/NAME", one_line(str(error)), "Check its spelling.") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        refused = _refused(name, error)
        if refused is not None:
            raise refused from error
        cached = _cached(name, files)
        if cached is None:
            raise EquiviewError(
                f"{name}: nothing at this path, not in the cache, and the hub did not give it ({_reason(error)}). Give "
                "the adapter's folder, or check the name and the network."
            ) from error
        log.warning("%s: the hub did not answer; the copy of commit %s is used", name, cached[1].revision[:12])
        return cached
    return Path(folder), HubCommit(name.repo, Path(folder).name)


def _cached(name: HubName, files: Sequence[str]) -> tuple[Path, HubCommit] | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(name.repo, revision=name.revision, allow_patterns=list(files), local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return Path(folder), HubCommit(name.repo, Path(folder).name)


def _require(needed: str, name: HubName, there: Sequence[str]) -> None:
    if needed not in there:
        found = ", ".join(sorted(there)[:4]) or "an empty repository"
        export = "modeling_equiview.py" in there
        fix = "An export loads with AutoModel.from_pretrained." if export else "Give an adapter that equiview pushed."
        raise bad_input(f"{name} on the hub", f"an adapter ({needed})", found, fix)


def _refused(name: HubName, error: Exception) -> EquiviewError | None:
    """Return the message for what the hub said no to; None where it was not reached."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        fix = "Give a branch, a tag or a commit of it, or leave @REVISION out."
        return bad_input(f"{name.repo} on the hub", f"the revision {name.revision}", "no such revision", fix)
    if isinstance(error, GatedRepoError):
        return bad_input(f"{name} on the hub", "access to it", "a gated repository", f"Ask for access there. {LOGIN}")
    if isinstance(error, RepositoryNotFoundError):
        found = "nothing at this path, and no such repository that this login may see"
        return bad_input(str(name), "a local folder or a repository of the hub", found, f"Check the name. {LOGIN}")
    return None


def push(folder: Path, repo: str, *, private: bool = False, message: str, replaces: Sequence[str] = ()) -> str:
    """Put the files of a folder into a repository of the hub, as one commit; the repository is made where it is new.

    Args:
        folder: Its files, a README.md among them.
        repo: OWNER/NAME.
        private: A new repository is private.
        message: Of the commit.
        replaces: Names of files that go away when the folder does not have them.

    Returns:
        The address of the commit.

    Raises:
        EquiviewError: Not the name of a repository, no right to write there, or a hub that cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx

    check_repo(repo)
    api = HfApi()
    try:
        # Before a repository is made: none is left behind for a card that is refused.
        _check_card((folder / "README.md").read_text(encoding="utf-8"), repo, api.endpoint)
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=message, delete_patterns=list(replaces)
        )
    except HFValidationError as error:
        raise bad_input(repo, "a hub name, OWNER/NAME", one_line(str(error)), "Check its spelling.") from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise _not_pushed(repo, error) from error
    return str(commit.commit_url)


def _check_card(text: str, repo: str, endpoint: str) -> None:
    """Ask the hub whether it takes a card (the library's own `ModelCard.validate` knows one hub only)."""
    from huggingface_hub.utils import get_session, hf_raise_for_status

    asked = {"repoType": "model", "content": text}
    response = get_session().post(f"{endpoint}/api/validate-yaml", json=asked, timeout=ANSWER_SECONDS)
    if response.status_code == 400:
        said = "; ".join(str(one.get("message")) for one in response.json().get("errors", []))
        raise bad_input(f"{repo}: README.md", "a card that the hub takes", said or "one it refuses", "Correct it.")
    hf_raise_for_status(response)


def check_repo(repo: str) -> None:
    """Refuse what cannot be the name of a repository to push to.

    Raises:
        EquiviewError: It has no owner, or a revision.
    """
    name = hub_name(repo)
    if name is None or name.revision is not None:
        fix = "Give your user name or organisation, a slash, and a name; a push goes to its main branch."
        raise bad_input("repository", "OWNER/NAME", repr(repo), fix)


def _not_pushed(repo: str, error: Exception) -> EquiviewError:
    from huggingface_hub import get_token

    status = getattr(getattr(error, "response", None), "status_code", None)
    if get_token() is None and status in (None, 401, 403, 404) and not _unreachable(error):
        return bad_input(f"push to {repo}", "a token of the hub", "none on this machine", LOGIN)
    if status in (401, 403, 404):
        found = f"a token that may not ({_reason(error)})"
        fix = f"Use a token with write access to {repo.partition('/')[0]}: `hf auth login`, or HF_TOKEN."
        return bad_input(f"push to {repo}", "the right to write there", found, fix)
    return EquiviewError(f"push to {repo}: the hub did not take it ({_reason(error)}). Nothing was changed; try again.")


def _unreachable(error: Exception) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx

    return isinstance(error, httpx.HTTPError | OfflineModeIsEnabled) and not isinstance(error, HfHubHTTPError)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
