"""Where the files of an evaluation set are found on this machine, and how they come from the hub."""

import gzip
import hashlib
import http.client
import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hornbook.errors import UserError
from hornbook.tables import read_columns

PACKAGED = Path(__file__).with_name("data")
CHECKOUT = Path(__file__).parents[2]  # of a source tree; elsewhere it holds no `shared`, and nothing is found
HUB = "https://huggingface.co/datasets"
# One plain request: huggingface_hub 2.4 tries six times and takes 23 s to find out that there is no network.
FETCH_SECONDS = 5.0
LARGEST_FILE = 256 << 20  # bytes; HellaSwag's has 6 MB

Row = dict[str, Any]


class UnavailableError(Exception):
    """The test set is not on this machine and could not be fetched: a result that needs it is unavailable, never 0."""


@dataclass(frozen=True, slots=True)
class SetFiles:
    """The files of one set: its authors' below `shared/benchmarks`, and the same content on the hub."""

    file: str
    repository: str  # a data set of the hub; empty: nowhere
    revision: str
    hub_files: tuple[str, ...]  # Parquet, whose rows together are the set
    fields: tuple[str, ...]  # columns of the hub's files; of the authors' too, unless the set reads those itself
    hub_sha256: str = field(default="", kw_only=True)  # of the hub's one file, where rows have no checksum to meet

    @property
    def addresses(self) -> list[str]:
        """Of the hub's files."""
        return [f"{HUB}/{self.repository}/resolve/{self.revision}/{file}" for file in self.hub_files]


def find(name: str, files: SetFiles) -> Path | None:
    """The file that holds a set on this machine: packaged, in a `shared/benchmarks` folder in or beside the current
    directory or the source checkout, or fetched before."""
    shared = [base / "shared" / "benchmarks" for root in (Path.cwd(), CHECKOUT) for base in (root, root.parent)]
    places = [PACKAGED / files.file, *(folder / files.file for folder in shared), cached(name)]
    return next((path for path in places if path.is_file()), None)


def cached(name: str) -> Path:
    """Where a fetched set is kept: rows as the hub has them, in JSON lines."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "hornbook" / "testsets" / f"{name}.jsonl.gz"


def fetch(name: str, files: SetFiles, check: Callable[[Path], object]) -> Path:
    """The set's rows from the hub at its pinned revision, kept in the user's cache once `check` has read them.

    Raises UnavailableError within seconds where there is no network, and where the hub's content is not the pinned one,
    comes in part, or cannot be kept. Nothing half written is left.
    """
    if not files.repository:
        raise UnavailableError(f"{name}: its file {files.file} is not on this machine")
    path = cached(name)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(partial, "wt", encoding="utf-8") as lines:
            for url in files.addresses:
                scratch = partial.with_suffix(Path(url).suffix)
                lines.writelines(json.dumps(row) + "\n" for row in _fetch_rows(name, files, url, scratch))
        check(partial)
        return partial.replace(path)
    except UserError as error:
        raise UnavailableError(f"{name}: {files.addresses[0]} holds something else ({error})") from error
    except OSError as error:  # of the network it is UnavailableError already
        raise UnavailableError(
            f"{name}: what is fetched cannot be kept in {path.parent} ({error}); XDG_CACHE_HOME names another place"
        ) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written has nothing to remove, and refuses to
            partial.unlink(missing_ok=True)


def _fetch_rows(name: str, files: SetFiles, url: str, scratch: Path) -> list[Row]:
    """The rows of one file of the hub. Raises UserError where it holds no such rows."""
    try:
        with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as response:  # noqa: S310 (a constant https address)
            content = response.read(LARGEST_FILE + 1)
            if len(content) <= LARGEST_FILE:
                content += response.read()  # nothing, or IncompleteRead: a read of so many bytes takes fewer in silence
    except (OSError, http.client.HTTPException) as error:  # the second: an answer that breaks off
        raise UnavailableError(
            f"{name}: not on this machine, and {url} cannot be reached ({error}); with a network it is fetched once, "
            f"or put the authors' file at shared/benchmarks/{files.file} below the current directory"
        ) from error
    if len(content) > LARGEST_FILE:
        raise UserError(f"more than {LARGEST_FILE >> 20} MB")
    if files.hub_sha256 not in ("", digest := hashlib.sha256(content).hexdigest()):
        raise UserError(f"bytes with SHA-256 {digest[:12]}, not {files.hub_sha256[:12]}")
    try:
        scratch.write_bytes(content)
        return list(read_rows(scratch, files.fields))
    except (ValueError, KeyError, TypeError) as error:  # JSON only; of Parquet it is UserError already
        raise UserError(f"{type(error).__name__}: {error}") from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def read_rows(path: Path, fields: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a Parquet file, or of JSON lines or one JSON array, compressed or not: these fields of each."""
    if path.suffix == ".parquet":
        for values in read_columns(path, list(fields)):
            yield dict(zip(fields, values, strict=True))
        return
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as lines:
        for row in json.load(lines) if path.name.endswith((".json.gz", ".json")) else map(json.loads, lines):
            yield {field: row[field] for field in fields}
