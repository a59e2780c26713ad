"""Read a policy from a file or from data, or say where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from costscope.errors import InvalidPolicy
from costscope.policy.checks import problems
from costscope.policy.decode import decode
from costscope.policy.document import MAX_BYTES, Document
from costscope.policy.schema import Policy

__all__ = ["Format", "PolicySource", "load_policy", "parse_policy"]

PolicySource = str | Path | Mapping[str, object] | Policy
"""The path of a `.yaml`, `.yml` or `.toml` file, the same as data, or a policy made in Python."""

Format = Literal["yaml", "toml"]
_FORMATS: Final[dict[str, Format]] = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}

_TOO_LARGE: Final = (
    f"larger than {MAX_BYTES // 1024} KiB; remove what it repeats, a policy is a few kilobytes"
)


def load_policy(source: PolicySource) -> Policy:
    """The policy, complete and checked.

    Args:
        source: the path of a file, a mapping of the same shape, or a `Policy`. Text is always a path; for a
            policy in a string there is `parse_policy`.

    Raises:
        InvalidPolicy: the file cannot be read, or what is in it cannot be a policy; with file, line and path.
    """
    if isinstance(source, Policy):
        # Python does not check a struct's types, so a policy made by hand takes the same way as a file.
        return _policy(Document(_builtins(source)))
    if isinstance(source, Mapping):
        return _policy(Document(source))
    path = Path(source)
    format_ = _FORMATS.get(path.suffix.lower())
    if format_ is None:
        problem = f"cannot tell the format of a file named {path.name[:80]!a}; use .yaml, .yml or .toml"
        raise InvalidPolicy(problem, file=_name(path))
    return parse_policy(_read(path), format_, file=_name(path))


def parse_policy(text: str, format: Format = "yaml", *, file: str | None = None) -> Policy:  # noqa: A002 - the word for it
    """The policy in a text.

    Args:
        text: YAML or TOML.
        format: which of the two.
        file: what to call it in errors.

    Raises:
        InvalidPolicy: the text cannot be a policy.
    """
    if len(text) > MAX_BYTES:
        raise InvalidPolicy(_TOO_LARGE, file=file)
    text = text.removeprefix("\ufeff")
    # The parsers are loaded by those who have a file: PyYAML alone is 15 ms of everybody's import.
    if format == "toml":
        from costscope.policy.toml import parse_toml as parse  # noqa: PLC0415 - see above
    else:
        from costscope.policy.yaml import parse_yaml as parse  # noqa: PLC0415 - see above
    return _policy(parse(text, file))


def _builtins(policy: Policy) -> object:
    try:
        return msgspec.to_builtins(policy)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"the policy holds what no policy file could: {error}"
        raise InvalidPolicy(problem) from error


def _policy(document: Document) -> Policy:
    policy = decode(document)
    for steps, problem in problems(policy):
        document.refuse(problem, steps)
    return policy


def _read(path: Path) -> str:
    name = _name(path)
    try:
        special = path.exists() and not path.is_file()
        # A pipe would block for ever, a device never end.
        content = b"" if special else _head(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        problem = f"cannot be read: {reason}; check the path"
        raise InvalidPolicy(problem, file=name) from error
    if special:
        problem = "not a regular file; give the path of one"
        raise InvalidPolicy(problem, file=name)
    if len(content) > MAX_BYTES:
        raise InvalidPolicy(_TOO_LARGE, file=name)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"not UTF-8 (byte {error.start}); save the file as UTF-8"
        raise InvalidPolicy(problem, file=name, line=line) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _name(path: Path) -> str:
    """The path for messages: one line, and printable whatever bytes it has."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
