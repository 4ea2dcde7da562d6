"""Which files a corpus consists of: their paths, the names they are known by, and the source each is counted under."""

import glob
import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from hornbook.errors import UserError
from hornbook.hub import download, files_in, resolve_revision
from hornbook.recipe import CorpusConfig, FilesSource, HubSource, InstalledProseSource, InstalledSource

TEXT_SUFFIXES = (".py", ".txt", ".md")
TABLE_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
# Ourselves, whose textbook grammar and drill problems must not be trained on; and the shims of editable installs, which
# hold paths of this machine.
LEFT_OUT = ("hornbook",)
EDITABLE_SHIMS = ("__editable__", "_editable_impl_")
METADATA = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}  # by the suffix of an installed distribution's folder

Source = InstalledSource | InstalledProseSource | FilesSource | HubSource
Form = Literal["text", "rows", "description", "topics"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the corpus."""

    path: Path
    name: str  # relative to its root, with `/`: the same wherever the root lies
    source: str
    form: Form  # one text; rows of a table; the description in a package's metadata; the help topics of pydoc
    text_column: str = ""  # of rows


def list_files(config: CorpusConfig) -> list[SourceFile]:
    """All files of all sources, in the order of the sources and by name within each.

    Files of the hub are fetched where its cache does not hold them. Raises UserError for a path that does not exist,
    cannot be listed, or holds nothing, and for a dataset of the hub that cannot be had.
    """
    return [file for source in config.sources for file in list_source(source)]


def list_source(source: Source) -> Iterable[SourceFile]:
    """The files of one source by name; raises UserError as `list_files` does."""
    match source:
        case InstalledSource():
            return _installed()
        case InstalledProseSource():
            return _installed_prose()
        case HubSource():
            return _hub_files(source)
        case FilesSource():
            return _user_files(source)


def _installed() -> Iterator[SourceFile]:
    """The standard library, then the installed packages.

    A sample drawn evenly over sources should see every project once, not every file: so a package is a source. The
    standard library is many projects under one roof, so each of its packages counts (`stdlib/asyncio`), while its
    single modules, some 180 with one file each, share the source `stdlib`.
    """
    paths = sysconfig.get_paths()
    stdlib = Path(paths["stdlib"])
    for path, parts in _python_files(stdlib, ("site-packages", "dist-packages")):
        source = f"stdlib/{parts[0]}" if len(parts) > 1 else "stdlib"
        yield SourceFile(path, _printable("/".join(("stdlib", *parts))), source, "text")
    for root in _package_roots():
        for path, parts in _python_files(root, LEFT_OUT):
            if not parts[0].startswith(EDITABLE_SHIMS):
                yield SourceFile(path, _printable("/".join(parts)), parts[0].removesuffix(".py"), "text")


def _installed_prose() -> Iterator[SourceFile]:
    """Python's help topics, then the metadata of the installed distributions; each of these is a source."""
    topics = Path(sysconfig.get_paths()["stdlib"]) / "pydoc_data" / "topics.py"
    if topics.is_file():  # some systems ship Python without it
        yield SourceFile(topics, "stdlib/pydoc_data/topics.py", "stdlib/pydoc_data", "topics")
    for root in _package_roots():
        for folder in sorted(_entries(root)):
            name = folder.name.partition("-")[0].removesuffix(".egg-info")
            if folder.suffix in METADATA and name not in LEFT_OUT:
                path = folder / METADATA[folder.suffix] if folder.is_dir() else folder
                yield SourceFile(path, _printable(path.relative_to(root).as_posix()), _printable(name), "description")


def _entries(root: Path) -> list[Path]:
    try:
        return list(root.iterdir())
    except OSError as error:
        _cannot_list(error)


def _package_roots() -> Iterator[Path]:
    """Where packages are installed, each place once."""
    paths = sysconfig.get_paths()
    seen: set[Path] = set()
    for root in (Path(paths["purelib"]), Path(paths["platlib"])):
        if root.resolve() not in seen and root.is_dir():
            seen.add(root.resolve())
            yield root


def _python_files(root: Path, left_out: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The `.py` files below a root and the parts of their names, without the named entries of the root itself."""
    for path in _walk(root, (".py",), left_out):
        yield path, path.relative_to(root).parts


def _printable(name: str) -> str:
    """A file name that is not UTF-8 cannot stand in a table as it is."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _walk(root: Path, suffixes: tuple[str, ...], left_out: tuple[str, ...]) -> Iterator[Path]:
    """Files below a root by name, hidden directories, caches and the named entries of the root left out."""
    for folder, directories, names in os.walk(root, onerror=_cannot_list):
        at_root = Path(folder) == root
        directories[:] = sorted(
            d for d in directories if not d.startswith(".") and d != "__pycache__" and not (at_root and d in left_out)
        )
        for name in sorted(names):
            if name.endswith(suffixes) and not name.startswith("."):
                yield Path(folder, name)


def _cannot_list(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); give it read permission or another path")


def _user_files(source: FilesSource) -> list[SourceFile]:
    path = Path(source.path).expanduser()
    if glob.has_magic(source.path):
        root = path
        while glob.has_magic(str(root)):
            root = root.parent
        found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())  # noqa: PTH207
    elif path.is_dir():
        root, found = path, list(_walk(path, TEXT_SUFFIXES + TABLE_SUFFIXES, ()))
    elif path.is_file():
        root, found = path.parent, [path]
    else:
        raise UserError(f"{source.path}: no such file or directory; mend `path` of the source `{source.source}`")
    if not found:
        kinds = ", ".join(TEXT_SUFFIXES + TABLE_SUFFIXES)
        raise UserError(f"{source.path}: holds no files ({kinds}); mend `path` of the source `{source.source}`")
    return [_file_of(source, file, _printable(file.relative_to(root).as_posix())) for file in found]


def _hub_files(source: HubSource) -> list[SourceFile]:
    commit = resolve_revision(source.repo, source.revision, "dataset")
    folder = download(source.repo, commit, source.files, "dataset")
    return [_file_of(source, folder / name, name) for name in files_in(folder, source.files)]


def _file_of(source: FilesSource | HubSource, path: Path, name: str) -> SourceFile:
    """A table by its suffix, and what is none is a text."""
    if name.endswith(TABLE_SUFFIXES):
        return SourceFile(path, name, source.source, "rows", source.text_column)
    return SourceFile(path, name, source.source, "text")
