"""What the sources of a corpus hold now, as one hash: it enters the identity of the step that reads them."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

from hornbook.corpus.listing import SourceFile, list_source
from hornbook.hub import resolve_revision
from hornbook.recipe import CorpusConfig, HubSource

CHUNK_BYTES = 1 << 20
# A file changed twice within one tick of its clock keeps its modification time, so the hash of a file this young is not
# remembered (the trap git calls racy).
SETTLED_NANOSECONDS = 2_000_000_000
BATCH_FILES = 4096
UNREADABLE = "unreadable"  # the step that reads the file drops it under the same word

# Size, modification and change time in nanoseconds, inode: the last two notice files that changed places.
Stamp = tuple[int, int, int, int]
Remembered = dict[str, tuple[Stamp, str]]  # by absolute path: the stamp and the hash of the content


def fingerprint_sources(config: CorpusConfig, cache: Path) -> str:
    """A hash over the name, source and content of every file of the sources, in order.

    A dataset of the hub counts by the commit its revision stands for now; nothing of it is fetched.

    `cache` is a JSON file that remembers the hash of each file by path, size and times, those of other corpora among
    them; it is rewritten where something changed. Raises UserError as `list_files` does.
    """
    known = _load(cache)
    fresh = dict(known)
    whole = hashlib.blake2b(digest_size=16)
    settled = time.time_ns() - SETTLED_NANOSECONDS
    with ThreadPoolExecutor(2) as pool:  # hashing and reading leave the interpreter lock
        for source in config.sources:
            if isinstance(source, HubSource):
                commit = resolve_revision(source.repo, source.revision, "dataset")
                whole.update(f"{source.repo} at {commit}\n".encode())
                continue
            for file, path, stamp, digest in _digests(pool, list_source(source), known):
                # Lengths first, so that no two lists of files give the same bytes.
                whole.update(f"{len(file.name)} {len(file.source)} {file.name}{file.source}{digest}\n".encode())
                if stamp is not None and digest != UNREADABLE and stamp[1] < settled:
                    fresh[path] = (stamp, digest)
                else:
                    fresh.pop(path, None)
    if fresh != known:
        _save(cache, fresh)
    return whole.hexdigest()


def _digests(
    pool: ThreadPoolExecutor, files: Iterable[SourceFile], known: Remembered
) -> Iterator[tuple[SourceFile, str, Stamp | None, str]]:
    """Each file with its absolute path, its stamp (None: it cannot be read) and the hash of its content, in order."""
    source = iter(files)
    while batch := list(islice(source, BATCH_FILES)):
        under_way: list[tuple[SourceFile, str, Stamp | None, str | Future[str]]] = []
        for file in batch:
            path = os.path.abspath(file.path)  # noqa: PTH100 (5 times as fast as Path.absolute; there are 15,000)
            try:
                status = file.path.stat()
            except OSError:
                under_way.append((file, path, None, UNREADABLE))
                continue
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device would be read without end
                under_way.append((file, path, None, UNREADABLE))
                continue
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            last_stamp, digest = known.get(path, (None, ""))
            under_way.append((file, path, stamp, digest if last_stamp == stamp else pool.submit(_hash_file, path)))
        for file, path, own_stamp, outcome in under_way:
            yield file, path, own_stamp, outcome if isinstance(outcome, str) else outcome.result()


def _hash_file(path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb", buffering=0) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return UNREADABLE
    return digest.hexdigest()


def _load(cache: Path) -> Remembered:
    try:
        entries = json.loads(cache.read_text(encoding="utf-8"))
        return {
            path: ((int(size), int(modified), int(changed), int(inode)), str(digest))
            for path, ((size, modified, changed, inode), digest) in entries.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # no cache, or not one of ours: everything is hashed again


def _save(cache: Path, entries: Remembered) -> None:
    """Remember for the next time; where that cannot be written, everything is hashed again."""
    partial = cache.with_name(f"{cache.name}.{os.getpid()}.writing")
    try:
        partial.write_text(json.dumps(entries), encoding="utf-8")
        partial.replace(cache)
    except OSError:
        with suppress(OSError):
            partial.unlink()
