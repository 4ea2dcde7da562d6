"""The record of a finished step: written last, checked before the step's files are used."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hornbook.errors import UserError

MANIFEST = "manifest.json"
FIELDS: dict[str, tuple[type, ...]] = {
    "step": (str,),
    "identity": (str,),
    "version": (int,),
    "config": (dict,),
    "content": (dict,),
    "ended": (str,),
    "seconds": (int, float),
    "counts": (dict, type(None)),
    "facts": (dict,),
    "files": (dict,),
}


def describe_files(directory: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file below a directory, by its path relative to it, all flushed to disk."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        described = pool.map(_describe, paths)
        return {path.relative_to(directory).as_posix(): what for path, what in zip(paths, described, strict=True)}


def _describe(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": checksum}


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest and flush it: after this the directory may get its final name."""
    with open(directory / MANIFEST, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a finished step.

    Raises UserError where there is none, or it is no JSON object.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{directory}: has no {MANIFEST}, so it is no finished step; delete it and run again") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); delete {directory} and run again") from error
    if not isinstance(manifest, dict):
        raise UserError(f"{path}: damaged (no JSON object); delete {directory} and run again")
    for field, kinds in FIELDS.items():
        if not isinstance(manifest.get(field), kinds):
            raise UserError(f"{path}: damaged (no `{field}` as it should be); delete {directory} and run again")
    return manifest


def verify_files(directory: Path, identity: str) -> dict[str, Any]:
    """The manifest of a finished step, after every file was compared with its recorded size and checksum.

    Raises UserError where it is the manifest of another step, or for the first file that is missing, cut short, changed
    or added.
    """
    manifest = read_manifest(directory)
    if manifest["identity"] != identity:
        raise UserError(f"{directory}: holds the files of another step, {manifest['step']}; delete it and run again")
    recorded: dict[str, dict[str, Any]] = manifest.get("files", {})
    for name, what in sorted(recorded.items()):
        path = directory / name
        if not path.is_file():
            raise UserError(f"{path}: missing from a finished step; delete {directory} and run again")
        if (size := path.stat().st_size) != what["bytes"]:
            raise UserError(
                f"{path}: {size} bytes where the manifest records {what['bytes']}; delete {directory} and run again"
            )
    found = describe_files(directory)
    found.pop(MANIFEST, None)
    for name, what in sorted(found.items()):
        if name not in recorded:
            raise UserError(f"{directory / name}: was added to a finished step; remove it and run again")
        if what["sha256"] != recorded[name]["sha256"]:
            raise UserError(f"{directory / name}: changed since the step finished; delete {directory} and run again")
    return manifest
