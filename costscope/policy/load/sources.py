"""Where a policy is read from: one file, the files of a folder, environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from costscope.errors import InvalidPolicy
from costscope.policy.load.document import MAX_BYTES, Document, cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from costscope.policy.load.document import Place, Steps


Format = Literal["yaml", "toml"]

ENVIRONMENT: Final = "env:"
"""As a source: the files of `$COSTSCOPE_POLICY`, if it is set, and the variables that say more."""

POLICY_VARIABLE: Final = "COSTSCOPE_POLICY"

FORMATS: Final[dict[str, Format]] = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}
_FILES_MAX: Final = 256
Look = tuple[str, int, int, int, int] | str
"""Of a file its path, two times of change, size and inode; what is wrong, where it cannot be looked at.

The second time is that of the inode, which cannot be set back: `cp -p` keeps the first."""

Looks = tuple[Look, ...]


class Snapshot(NamedTuple):
    """What stood in a source at one moment."""

    name: str
    """Of the source, for errors about the whole of it."""
    files: tuple[tuple[Path, bytes], ...]
    variables: Mapping[str, str] = {}
    """The environment, where it counts."""


def read_source(source: str | Path, environ: Mapping[str, str] | None = None) -> Snapshot:
    """Read everything that the policy at a source consists of.

    Args:
        source: the path of a file or folder, or `env:`.
        environ: the environment variables; by default those of the process.

    Raises:
        InvalidPolicy: a file cannot be read or has a name without a known format, or a folder has no policy.
    """
    variables = os.environ if environ is None else environ
    files = tuple((path, _read(path)) for path in policy_paths(source, variables))
    if source == ENVIRONMENT:
        return Snapshot("the environment", files, variables)
    return Snapshot(show_path(Path(source)), files)


def policy_paths(source: str | Path, environ: Mapping[str, str] | None = None) -> list[Path]:
    """List the files of a source: of a folder those named `*.yaml`, `*.yml` or `*.toml`, by name, without hidden ones.

    Raises:
        InvalidPolicy: as `read_source`, except that what is in the files does not matter.
    """
    if source == ENVIRONMENT:
        named = (os.environ if environ is None else environ).get(POLICY_VARIABLE, "")
        return policy_paths(named, {}) if named and named != ENVIRONMENT else []
    if source == "":  # as a path it would be the working folder
        problem = "the path is empty; name a file or a folder"
        raise InvalidPolicy(problem)
    path = Path(source)
    try:
        found = _in_folder(path) if path.is_dir() else [path]
    except (OSError, ValueError) as error:
        raise _read_error(path, error) from error
    for one in found:
        if one.suffix.lower() not in FORMATS:
            problem = f"cannot tell the format of a file named {one.name[:80]!a}; use .yaml, .yml or .toml"
            raise InvalidPolicy(problem, file=show_path(one))
    if not found:
        problem = "the folder has no .yaml, .yml or .toml file; put the policy there, or name another folder"
        raise InvalidPolicy(problem, file=show_path(path))
    if len(found) > _FILES_MAX:
        problem = f"{len(found)} policy files, the limit is {_FILES_MAX}; put several budgets into one file"
        raise InvalidPolicy(problem, file=show_path(path))
    return found


def show_path(path: Path) -> str:
    """Write a path for messages: on one line, and printable with any bytes in it."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def look_at(source: str | Path) -> Looks:
    """Look at the files of a source without reading them, to see whether they have changed."""
    try:
        paths = policy_paths(source)
    except InvalidPolicy as problem:
        return (str(problem),)
    return tuple(map(_look, paths))


def _look(path: Path) -> Look:
    try:
        found = path.stat()
    except (OSError, ValueError) as problem:
        return f"{path}: {problem}"
    return str(path), found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _in_folder(folder: Path) -> list[Path]:
    """List a folder's files. Those of a ConfigMap are links into hidden folders, which are left out, as is what editors keep."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in FORMATS and not path.name.startswith(".") and not path.is_dir()
    )


def _read(path: Path) -> bytes:
    try:
        special = path.exists() and not path.is_file()
        # A pipe would block for ever, a device never end.
        content = b"" if special else _head(path)
    except (OSError, ValueError) as error:
        raise _read_error(path, error) from error
    if special:
        problem = "not a regular file; give the path of one"
        raise InvalidPolicy(problem, file=show_path(path))
    return content


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _read_error(path: Path, error: Exception) -> InvalidPolicy:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InvalidPolicy(f"cannot be read: {reason}; check the path", file=show_path(path))


_LISTS: Final = frozenset({"budgets", "routing"})
_MAPPINGS: Final[dict[str, int]] = {"webhooks": 1, "prices": 2}
"""Fields whose entries may come from several documents, and how deep the entries are."""


def merge(documents: Iterable[Document], name: str) -> Document:
    """Make one document of several whose shapes are right: lists and mappings are joined, and nothing is said twice.

    Args:
        documents: each a mapping that the decoder has taken.
        name: of the whole, for errors.

    Raises:
        InvalidPolicy: two of them have a budget or route of the same id, or say different things about the same.
    """
    merging = _Merging()
    for document in documents:
        merging.add(document)
    return Document(merging.data, name, moved=merging.moved)


class _Merging:
    def __init__(self) -> None:
        # What a policy says, as plain data; its types are the decoder's matter.
        self.data: dict[str, Any] = {}
        self.moved: dict[Steps, tuple[Document, Steps]] = {}
        self._ids: dict[tuple[str, str], tuple[Document, Steps]] = {}

    def add(self, document: Document) -> None:
        assert isinstance(document.data, dict), "the decoder takes mappings only"
        for field, value in document.data.items():
            if field in _LISTS:
                self._extend(document, field, value)
            else:
                self._put(document, self.data, (field,), value, _MAPPINGS.get(field, 0))

    def _extend(self, document: Document, field: str, items: list[dict[str, Any]]) -> None:
        joined = self.data.setdefault(field, [])
        for index, item in enumerate(items):
            place = (document, (field, index))
            first = self._ids.setdefault((field, item["id"]), place)
            if first[0] is not document:
                there = first[0].place((*first[1], "id"))
                document.refuse(
                    f"{cut(item['id'])} is the id of one in {_where(there)} too; ids are unique over all files",
                    (field, index, "id"),
                )
            self.moved[field, len(joined)] = place
            joined.append(item)

    def _put(self, document: Document, mapping: dict[str, Any], steps: Steps, value: Any, depth: int) -> None:
        key = steps[-1]
        assert isinstance(key, str), "lists are joined elsewhere"
        if depth and isinstance(value, dict):
            inside = mapping.setdefault(key, {})
            for name, inner in value.items():
                self._put(document, inside, (*steps, name), inner, depth - 1)
        elif key not in mapping:
            mapping[key] = value
            self.moved[steps] = (document, steps)
        elif mapping[key] != value:
            first, place = self.moved[steps]
            document.refuse(f"{_where(first.place(place))} says otherwise; say it in one place only", steps)


def _where(place: Place) -> str:
    return f"{place.file}:{place.line}" if place.line is not None else str(place.file)
