"""New versions of a policy's files, put in force in a runtime that goes on. Each is told of, taken or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.errors import InvalidPolicy
from costscope.events import PolicyReloaded
from costscope.ledger import new_id
from costscope.policy.reload import PolicyReloader
from costscope.policy.watch import PolicyWatcher

if TYPE_CHECKING:
    from pathlib import Path

    from costscope.policy import Policy
    from costscope.runtime.runtime import Runtime

__all__ = ["Reloading"]


class Reloading:
    """Looks at the files of one runtime's policy; while they are wrong the version before stays.

    Raises (when it is made):
        InvalidPolicy: the first version is wrong.
    """

    def __init__(self, runtime: Runtime, source: str | Path) -> None:
        self._runtime = runtime
        self._watcher = PolicyWatcher(source)
        self._reloader = PolicyReloader(self._watcher, on_change=self._adopt, on_problem=self._keep_old)

    @property
    def policy(self) -> Policy:
        """As the files have it now."""
        return self._watcher.policy

    def start(self) -> None:
        """Look at them from now on, if they can change."""
        if self._watcher.can_change:
            self._reloader.start()

    def stop(self) -> None:
        """Look at them no more."""
        self._reloader.stop()

    def _adopt(self, policy: Policy) -> None:
        """A new policy holds from the next call on, in scopes that are open as well."""
        try:
            before = self._runtime.adopt(policy)
        except InvalidPolicy as problem:
            self._keep_old(problem)
            return
        self._tell(problem="")
        if before is not None:
            before.close()

    def _keep_old(self, problem: InvalidPolicy) -> None:
        self._tell(problem=str(problem))

    def _tell(self, *, problem: str) -> None:
        runtime = self._runtime
        event = PolicyReloaded(
            id=new_id(runtime.now_ms()),
            at=runtime.now(),
            source=str(self._watcher.source),
            accepted=not problem,
            problem=problem,
        )
        runtime.events.emit(event)
