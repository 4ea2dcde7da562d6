"""A random forest as a file: skops, never pickle, the same bytes for the same forest."""

import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import InconsistentVersionWarning
from skops.io.exceptions import UntrustedTypesFoundException

from hornbook.errors import UserError

# All that a forest holds beyond what skops trusts by itself. A file that names any other type is refused.
TRUSTED_TYPES = ("sklearn.tree._tree.Tree",)
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_forest(path: Path, forest: RandomForestRegressor) -> None:
    """Store a fitted forest. The number of jobs it was fitted with does not reach the file."""
    forest.set_params(n_jobs=None)
    path.write_bytes(_canonical(skops.io.dumps(forest)))


def read_forest(path: Path) -> RandomForestRegressor:
    """Load a forest.

    Raises UserError where the file is missing, is none, names a type that is not trusted, or was written by another
    version of scikit-learn, whose trees this one may read wrongly.
    """
    if not path.exists():
        raise UserError(f"{path}: no such classifier; train one first")
    data = path.read_bytes()
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES))
        if unknown:
            raise UserError(f"{path}: refused, it holds types a classifier has no use for: {', '.join(unknown)}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            forest = skops.io.loads(data, trusted=list(TRUSTED_TYPES))
    except InconsistentVersionWarning as error:
        versions = f"scikit-learn {error.original_sklearn_version}, not {error.current_sklearn_version}"
        raise UserError(f"{path}: written by {versions}; train the classifier again") from error
    except (zipfile.BadZipFile, UntrustedTypesFoundException, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a readable classifier ({str(error).splitlines()[0]})") from error
    if not isinstance(forest, RandomForestRegressor):
        raise UserError(f"{path}: holds a {type(forest).__name__}, not a random forest")
    return forest


def _canonical(data: bytes) -> bytes:
    """The same skops file without what differs from run to run: memory addresses, times, and padding bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(packed, "w") as target:
        arrays: dict[str, str] = {}
        schema = _renamed(json.loads(source.read("schema.json")), count(), arrays)
        for name, new_name in arrays.items():
            _write_member(target, new_name, _without_padding(source.read(name)))
        _write_member(target, "schema.json", json.dumps(schema, indent=1).encode())
    return packed.getvalue()


def _write_member(target: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, ZIP_EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    target.writestr(member, content)


def _renamed(node: Any, numbers: Iterator[int], arrays: dict[str, str]) -> Any:
    """The schema with memory addresses replaced by the order of appearance, in the nodes and in the names of arrays.

    Every node gets a number of its own: whether two equal numbers are one object depends on how the forest came about.
    """
    if isinstance(node, list):
        return [_renamed(item, numbers, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            result[key] = next(numbers)
        elif key == "file" and isinstance(value, str):
            result[key] = arrays.setdefault(value, f"{len(arrays)}.npy")
        else:
            result[key] = _renamed(value, numbers, arrays)
    return result


def _without_padding(data: bytes) -> bytes:
    """An array file whose records have zeros between their fields, where a tree leaves whatever memory held."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    if "missing_go_to_left" in array.dtype.names:
        clean["missing_go_to_left"][array["left_child"] < 0] = 0  # never set for a leaf, never read
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()
