"""Read a policy from files, the environment or data, or say where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from costscope.errors import InvalidPolicy
from costscope.policy.checks import problems
from costscope.policy.load.decode import decode
from costscope.policy.load.document import Document, cut, plain
from costscope.policy.load.environment import environment_documents
from costscope.policy.load.shorthand import expand
from costscope.policy.load.sources import Format, Snapshot, merge, parse_bytes, parse_text, read_source
from costscope.policy.model.schema import Policy
from costscope.policy.strands import translate

__all__ = [
    "Format",
    "LoadedPolicy",
    "PolicySource",
    "load_policy",
    "parse_policy",
    "policy_of",
    "read_policy",
]

PolicySource = str | Path | Mapping[str, object] | Policy
"""The path of a `.yaml`, `.yml` or `.toml` file or of a folder of these, `env:`, the same as data, or a policy made in
Python."""


class LoadedPolicy(NamedTuple):
    """A policy, and the document that says where its parts were written."""

    policy: Policy
    document: Document


def load_policy(source: PolicySource) -> Policy:
    """The policy, complete and checked.

    Args:
        source: the path of a file or folder, `env:` for what the environment variables say, a mapping of the same
            shape as a file, or a `Policy`. Text is always a path or `env:`; for a policy in a string there is
            `parse_policy`.

    Raises:
        InvalidPolicy: it cannot be read, or what is in it cannot be a policy; with file, line and path.
    """
    return read_policy(source).policy


def read_policy(source: PolicySource) -> LoadedPolicy:
    """`load_policy`, and where everything in it stands.

    Raises:
        InvalidPolicy: as `load_policy`.
    """
    if isinstance(source, Policy):
        # Python does not check a struct's types, so a policy made by hand takes the same way as a file.
        return _checked(_prepared(Document(_builtins(source))))
    if isinstance(source, Mapping):
        return _checked(_prepared(Document(source)))
    return policy_of(read_source(source))


def policy_of(snapshot: Snapshot) -> LoadedPolicy:
    """The policy in what was read from a source.

    Raises:
        InvalidPolicy: as `load_policy`.
    """
    documents = [_prepared(parse_bytes(path, content)) for path, content in snapshot.files]
    documents += [_prepared(document) for document in environment_documents(snapshot.variables)]
    return _checked(documents[0] if len(documents) == 1 else merge(documents, snapshot.name))


def parse_policy(text: str, format: Format = "yaml", *, file: str | None = None) -> Policy:  # noqa: A002 - the word for it
    """The policy in a text.

    Args:
        text: YAML or TOML.
        format: which of the two.
        file: what to call it in errors.

    Raises:
        InvalidPolicy: the text cannot be a policy.
    """
    return _checked(_prepared(parse_text(text, format, file=file))).policy


def _prepared(document: Document) -> Document:
    """The document in the one long form that the schema knows, of the right shape."""
    document = document._replace(data=plain(document))
    if not isinstance(document.data, dict):
        document.refuse(f"expected a mapping with `budgets:`, got {cut(document.data)}", ())
    document = expand(translate(document))
    decode(document)
    return document


def _checked(document: Document) -> LoadedPolicy:
    policy = decode(document)
    for steps, problem in problems(policy):
        document.refuse(problem, steps)
    return LoadedPolicy(policy, document)


def _builtins(policy: Policy) -> object:
    try:
        return msgspec.to_builtins(policy)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"the policy holds what no policy file could: {error}"
        raise InvalidPolicy(problem) from error
