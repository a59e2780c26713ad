"""Read a policy from files, the environment or data, or say where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from costscope.errors import InvalidPolicy
from costscope.policy.checks.policy_checks import check_policy
from costscope.policy.load.decode import decode
from costscope.policy.load.document import MAX_BYTES, Document, copy_plain, cut
from costscope.policy.load.environment import environment_documents
from costscope.policy.load.shorthand import expand
from costscope.policy.load.sources import FORMATS, Format, Snapshot, merge, read_source, show_path
from costscope.policy.model.schema import Policy
from costscope.policy.strands.translate import translate

PolicySource = str | Path | Mapping[str, object] | Policy
"""The path of a `.yaml`, `.yml` or `.toml` file or of a folder of these, `env:`, the same as data, or a policy made in
Python."""

_TOO_LARGE: Final = (
    f"larger than {MAX_BYTES // 1024} KiB; remove what it repeats, a policy is a few kilobytes"
)


class LoadedPolicy(NamedTuple):
    """A policy, and the document that says where its parts were written."""

    policy: Policy
    document: Document


def load_policy(source: PolicySource) -> Policy:
    """Read a policy, complete and checked.

    Args:
        source: the path of a file or folder, `env:` for what the environment variables say, a mapping of the same
            shape as a file, or a `Policy`. Text is always a path or `env:`; for a policy in a string there is
            `parse_policy`.

    Raises:
        InvalidPolicy: it cannot be read, or what is in it cannot be a policy; with file, line and path.
    """
    return read_policy(source).policy


def read_policy(source: PolicySource) -> LoadedPolicy:
    """Read a policy as `load_policy` does, and where everything in it stands.

    Raises:
        InvalidPolicy: as `load_policy`.
    """
    if isinstance(source, Policy):
        # Python does not check a struct's types, so a policy made by hand takes the same way as a file.
        return _check(_spell_out(copy_plain(Document(_builtins(source)))))
    if isinstance(source, Mapping):
        return _check(_spell_out(copy_plain(Document(source))))
    return policy_of(read_source(source))


def policy_of(snapshot: Snapshot) -> LoadedPolicy:
    """Make the policy of what was read from a source.

    Raises:
        InvalidPolicy: as `load_policy`.
    """
    if len(snapshot.files) == 1 and not snapshot.variables:
        [(path, content)] = snapshot.files
        return _check(_spell_out(_parse_bytes(path, content)))
    parts = [_part(_parse_bytes(path, content)) for path, content in snapshot.files]
    parts += map(_part, environment_documents(snapshot.variables))
    return _check(parts[0] if len(parts) == 1 else merge(parts, snapshot.name))


def parse_policy(text: str, format: Format = "yaml", *, file: str | None = None) -> Policy:  # noqa: A002 - the word for it
    """Make the policy of a text.

    Args:
        text: YAML or TOML.
        format: which of the two.
        file: what to call it in errors.

    Raises:
        InvalidPolicy: the text cannot be a policy.
    """
    return _check(_spell_out(_parse_text(text, format, file=file))).policy


def _spell_out(document: Document) -> Document:
    """Bring a document into the one long form that the schema knows."""
    if not isinstance(document.data, dict):
        document.refuse(f"expected a mapping with `budgets:`, got {cut(document.data)}", ())
    return expand(translate(document))


def _part(document: Document) -> Document:
    """Bring one document of several into the long form and the right shape, which is what `merge` takes."""
    document = _spell_out(document)
    decode(document)
    return document


def _check(document: Document) -> LoadedPolicy:
    policy = decode(document)
    for steps, problem in check_policy(policy):
        document.refuse(problem, steps)
    return LoadedPolicy(policy, document)


def _parse_bytes(path: Path, content: bytes) -> Document:
    name = show_path(path)
    if len(content) > MAX_BYTES:
        raise InvalidPolicy(_TOO_LARGE, file=name)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"not UTF-8 (byte {error.start}); save the file as UTF-8"
        raise InvalidPolicy(problem, file=name, line=line) from error
    return _parse_text(text, FORMATS[path.suffix.lower()], file=name)


def _parse_text(text: str, format_: Format, *, file: str | None) -> Document:
    if len(text) > MAX_BYTES:
        raise InvalidPolicy(_TOO_LARGE, file=file)
    text = text.removeprefix("\ufeff")
    # A parser is imported with the first file: PyYAML alone is 15 ms, which a policy given as data need not pay.
    if format_ == "toml":
        from costscope.policy.load.toml import parse_toml as parse  # noqa: PLC0415 - see above
    else:
        from costscope.policy.load.yaml import parse_yaml as parse  # noqa: PLC0415 - see above
    return parse(text, file)


def _builtins(policy: Policy) -> object:
    try:
        return msgspec.to_builtins(policy)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"the policy holds what no policy file could: {error}"
        raise InvalidPolicy(problem) from error
