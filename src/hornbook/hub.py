"""Files of the Hugging Face hub at one commit, in the hub client's own cache, which other tools share.

What lies in the cache is used without a network; a token is the client's own business (`HF_TOKEN` or `hf auth login`).
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from hornbook.errors import UserError

Kind = Literal["model", "dataset"]

COMMIT = re.compile(r"[0-9a-f]{40}")
PROBE_SECONDS = 10.0
UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:")  # control characters, and what is a path elsewhere


def resolve_revision(repo: str, revision: str, kind: Kind) -> str:
    """The commit that a branch, a tag or a commit stands for now; without a network, the one it stood for last.

    Raises UserError where there is no such repository or revision, where it is gated, and where the hub cannot be
    reached and has not been asked before.
    """
    _without_telemetry()
    from huggingface_hub import HfApi

    with _told(repo, revision, kind):
        commit = HfApi().resolve_revision(repo, revision=revision, repo_type=kind).resolved
    if not COMMIT.fullmatch(commit):
        raise UserError(f"{_name(repo, kind)}: the hub answered with no commit for `{revision}`; try again later")
    return commit


def download(repo: str, commit: str, patterns: Sequence[str], kind: Kind) -> Path:
    """The directory that holds all files of a commit that match the globs, and perhaps others: see `files_in`.

    `*` matches `/` too, as everywhere on the hub. Files that are in the cache are not fetched again.

    Raises UserError as `resolve_revision` does, where no file matches, where the network fails while files are missing,
    and, before anything is written, where a name leads out of the directory.
    """
    _without_telemetry()
    from huggingface_hub import HfApi, snapshot_download

    if not COMMIT.fullmatch(commit):
        raise UserError(f"{_name(repo, kind)}: `{commit}` is no commit; give all 40 hexadecimal digits")
    wanted = list(patterns)
    cached = _cached(repo, commit, wanted, kind)
    if cached is not None:
        return cached
    api = HfApi()
    with _told(repo, commit, kind):
        # Fails at once where there is no network, while what follows tries again for half a minute.
        api.repo_info(repo, revision=commit, repo_type=kind, timeout=PROBE_SECONDS, expand="sha")
        names = list(api.list_repo_files(repo, revision=commit, repo_type=kind))
        for name in names:
            if leads_out(name):
                raise UserError(
                    f"{_name(repo, kind)}: holds a file named {name[:120]!r}, which leads out of its directory; "
                    "do not use this repository"
                )
        if not _matching(names, wanted):
            asked = ", ".join(f"`{pattern}`" for pattern in wanted)
            raise UserError(f"{_name(repo, kind)}: no file of {commit[:12]} matches {asked}; mend the globs")
        return Path(snapshot_download(repo, revision=commit, repo_type=kind, allow_patterns=wanted))


def _cached(repo: str, commit: str, patterns: list[str], kind: Kind) -> Path | None:
    """The directory of a commit in the cache, if all files that match the globs are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with _told(repo, commit, kind):
        try:
            folder = Path(
                snapshot_download(repo, revision=commit, repo_type=kind, allow_patterns=patterns, local_files_only=True)
            )
        except LocalEntryNotFoundError:  # nothing of it, or not all that its list of files has
            return None
    # Without its list of files, which only a network gives, nothing says whether a directory is whole.
    is_listed = (folder.parents[1] / "trees" / f"{commit}.json").is_file()
    return folder if is_listed and files_in(folder, patterns) else None


def files_in(folder: Path, patterns: Sequence[str]) -> list[str]:
    """The names, with `/`, of the files of a downloaded directory that match the globs, sorted."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(_matching(found, patterns))


def leads_out(name: str) -> bool:
    """Whether a file of that name could lie outside of the directory it is put into."""
    parts = name.split("/")
    return not name or PurePosixPath(name).is_absolute() or ".." in parts or UNSAFE.search(name) is not None


def _matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    globs = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in patterns]
    return [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]


def _without_telemetry() -> None:
    """The client tells the hub which libraries are installed unless this stands before its import."""
    os.environ["DO_NOT_TRACK"] = "1"


@contextmanager
def _told(repo: str, revision: str, kind: Kind) -> Iterator[None]:
    """What goes wrong, in one line with the mend; never with a header or a URL, which may hold a token."""
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    name = _name(repo, kind)
    try:
        yield
    except GatedRepoError:
        raise UserError(
            f"{name}: is gated; accept its terms on the hub, and give a token of that account (HF_TOKEN)"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{name}: no such repository on the hub, or a private one; mend its name or give a token (HF_TOKEN)"
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{name}: has no revision `{revision}`; mend `revision`") from None
    except HFValidationError:
        raise UserError(f"{name}: is no name of a repository; give OWNER/NAME") from None
    except (
        LocalEntryNotFoundError,
        RevisionResolutionError,
        OfflineModeIsEnabled,
        httpx2.ConnectError,
        httpx2.TimeoutException,
    ):
        raise UserError(f"{name}: {_unreachable()}, and its cache does not hold all of `{revision}`") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise UserError(f"{name}: the hub answered with status {status}; try again later") from None
    except httpx2.TransportError as error:
        raise UserError(f"{name}: the hub broke off ({type(error).__name__}); try again") from None
    except OSError as error:
        raise UserError(
            f"{name}: cannot be kept in the cache ({error.strerror or type(error).__name__}); make room or set HF_HOME"
        ) from None


def _unreachable() -> str:
    from huggingface_hub import is_offline_mode

    return "HF_HUB_OFFLINE keeps from asking the hub" if is_offline_mode() else "the hub cannot be reached"


def _name(repo: str, kind: Kind) -> str:
    return f"hf://datasets/{repo}" if kind == "dataset" else f"hf://{repo}"
