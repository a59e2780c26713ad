"""Notices that a policy's files have changed, and puts the new version in force as a whole or not at all.

A version counts once it has held still: editors write a file in pieces, and half of a policy may well be a policy with
fewer budgets. A version that is wrong is said to be so once, and the one before it stays.
"""

from __future__ import annotations

import hashlib
import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from costscope.background.worker import CLOSING_S, Worker, register
from costscope.errors import InvalidPolicy
from costscope.policy.load.loader import policy_of
from costscope.policy.load.sources import look_at, read_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from costscope.policy.load.sources import Looks, Snapshot
    from costscope.policy.model.schema import Policy

SETTLE_S: Final = 0.25
"""How long the files must have looked the same before they are believed."""

INTERVAL_S: Final = 2.0
"""Between two looks, while nothing is new."""

log = logging.getLogger("costscope")


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

    Raises:
        InvalidPolicy: there is no policy to begin with.
    """

    def __init__(
        self, source: str | Path, *, settle_s: float = SETTLE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.source = source
        self._settle_s = settle_s
        self._clock = clock
        looks, snapshot = look_at(source), read_source(source)
        self.policy: Policy = policy_of(snapshot).policy
        digest = _digest(snapshot)
        self._state = _State(looks, digest, in_force=digest)

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
        state, looks = self._state, look_at(self.source)
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
        if look_at(self.source) != looks:  # replaced while it was read: what was read may be of two versions
            self._state = state._replace(pending=None)
            return None
        digest = _digest(snapshot)
        if digest == state.in_force:
            self._state = _State(looks, digest, in_force=digest)
            return None
        try:
            policy = policy_of(snapshot).policy
        except InvalidPolicy as problem:
            self._refuse(state, looks, digest, problem)
            return None
        self.policy = policy
        self._state = _State(looks, digest, in_force=digest)
        return policy

    def _refuse(self, state: _State, looks: Looks, digest: bytes, problem: InvalidPolicy) -> None:
        self._state = _State(looks, digest, in_force=state.in_force)
        if digest != state.digest:
            raise problem


class PolicyReloader:
    """Asks a watcher again and again, in a daemon thread, until it is closed. A forked child asks by itself.

    Args:
        watcher: belongs to the reloader from now on.
        interval_s: seconds between two looks; a version that has not held still yet is looked at sooner.
        on_change: gets each new policy, in the thread. What it raises is logged.
        on_problem: gets the error of each new version that is wrong. What it raises is logged.
    """

    def __init__(
        self,
        watcher: PolicyWatcher,
        *,
        interval_s: float = INTERVAL_S,
        on_change: Callable[[Policy], object],
        on_problem: Callable[[InvalidPolicy], object],
    ) -> None:
        self.watcher = watcher
        self._interval_s = interval_s
        self._on_change = on_change
        self._on_problem = on_problem
        self._worker: Worker | None = None

    def start(self) -> None:
        """Begin; a second call changes nothing."""
        if self._worker is None:
            self._worker = Worker(self._look, "costscope-policy")
            register(self, "callbacks")
            self._worker.wake()

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """End, and wait for a call under way for at most `timeout_s`."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop(timeout_s)

    def restart_in_child(self) -> None:
        """Look by itself after a fork, whose child has not got the thread."""
        if self._worker is not None:
            self._worker.restart_in_child()
            self._worker.wake()

    def _look(self) -> float:
        try:
            policy = self.watcher.take_change()
            if policy is not None:
                self._on_change(policy)
        except InvalidPolicy as problem:
            self._tell(problem)
        except Exception:
            log.exception("a change of the policy %s could not be taken over", self.watcher.source)
        return min(self._interval_s, SETTLE_S) if self.watcher.unsettled else self._interval_s

    def _tell(self, problem: InvalidPolicy) -> None:
        try:
            self._on_problem(problem)
        except Exception:
            log.exception("a wrong policy could not be reported: %s", problem)


def _digest(snapshot: Snapshot) -> bytes:
    digest = hashlib.sha256()
    for path, content in snapshot.files:
        # With their lengths before them, so that nothing can pass from one file to the next unseen.
        for part in (str(path).encode("utf-8", "surrogateescape"), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
