"""Notices that a policy's files have changed, and puts the new version in force as a whole or not at all.

A version counts once it has held still: editors write a file in pieces, and half of a policy may well be a policy with
fewer budgets. A version that is wrong is said to be so once, and the one before it stays.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from costscope.errors import InvalidPolicy
from costscope.policy.load.loader import LoadedPolicy, policy_of
from costscope.policy.load.sources import policy_paths, read_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from costscope.policy.load.sources import Snapshot
    from costscope.policy.model.schema import Policy

SETTLE_S: Final = 0.25
"""How long the files must have looked the same before they are believed."""

Look = tuple[str, int, int, int, int] | str
"""Of a file its path, two times of change, size and inode; what is wrong, where it cannot be looked at.

The second time is that of the inode, which cannot be set back: `cp -p` keeps the first."""

Looks = tuple[Look, ...]


class _State(NamedTuple):
    """All that a watcher remembers: replaced as a whole, so that a fork finds it complete."""

    looks: Looks
    """Of the version that is in force or was refused."""
    digest: bytes
    in_force: bytes
    """The digest of the policy that is in force."""
    pending: Looks | None = None
    """Looks that are not believed yet, since `since_s`."""
    since_s: float = 0.0


class PolicyWatcher:
    """A policy's source, and the version of it that is in force. For one thread at a time.

    Args:
        source: a file, a folder, or `env:`; environment variables themselves do not change.
        settle_s: seconds that the files must have looked the same.
        clock: seconds that only go forward.

    Attributes:
        policy: what is in force; read at once when the watcher is made.
        loaded: the same, with the places of its parts.

    Raises:
        InvalidPolicy: there is no policy to begin with.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self._settle_s = settle_s
        self._clock = clock
        looks, snapshot = _looks(source), read_source(source)
        self.loaded: LoadedPolicy = policy_of(snapshot)
        digest = _digest(snapshot)
        self._state = _State(looks, digest, in_force=digest)

    @property
    def policy(self) -> Policy:
        """What is in force."""
        return self.loaded.policy

    @property
    def can_change(self) -> bool:
        """False for environment variables that name no file: they stay as they are as long as the process lives."""
        return bool(self._state.looks)

    @property
    def unsettled(self) -> bool:
        """True while the files look new and have not held still long enough: ask again soon."""
        return self._state.pending is not None

    def take_change(self) -> Policy | None:
        """Return the new policy, now in force; None if nothing is new, or not yet to be believed.

        Raises:
            InvalidPolicy: the new version is wrong; the one in force stays. Said once for each version.
        """
        state, looks = self._state, _looks(self.source)
        if looks == state.looks:
            self._state = state._replace(pending=None)
            return None
        now_s = self._clock()
        if looks != state.pending or now_s - state.since_s < self._settle_s:
            since_s = state.since_s if looks == state.pending else now_s
            self._state = state._replace(pending=looks, since_s=since_s)
            return None
        return self._take(state, looks)

    def _take(self, state: _State, looks: Looks) -> Policy | None:
        try:
            snapshot = read_source(self.source)
        except InvalidPolicy as problem:
            self._refuse(state, looks, str(problem).encode(), problem)
            return None
        if _looks(self.source) != looks:  # replaced while it was read: what was read may be of two versions
            self._state = state._replace(pending=None)
            return None
        digest = _digest(snapshot)
        if digest == state.in_force:
            self._state = _State(looks, digest, in_force=digest)
            return None
        try:
            loaded = policy_of(snapshot)
        except InvalidPolicy as problem:
            self._refuse(state, looks, digest, problem)
            return None
        self.loaded = loaded
        self._state = _State(looks, digest, in_force=digest)
        return loaded.policy

    def _refuse(self, state: _State, looks: Looks, digest: bytes, problem: InvalidPolicy) -> None:
        self._state = _State(looks, digest, in_force=state.in_force)
        if digest != state.digest:
            raise problem


def _looks(source: str | Path) -> Looks:
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


def _digest(snapshot: Snapshot) -> bytes:
    digest = hashlib.sha256()
    for path, content in snapshot.files:
        # With their lengths before them, so that nothing can pass from one file to the next unseen.
        for part in (str(path).encode("utf-8", "surrogateescape"), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
