"""New versions of a policy's files, put in force in a runtime that goes on. Each is told of, taken or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.errors import InvalidPolicy
from costscope.observe.events.records import PolicyReloaded
from costscope.policy.load.watcher import PolicyReloader, PolicyWatcher

if TYPE_CHECKING:
    from pathlib import Path

    from costscope.engine.state.services import Services
    from costscope.policy import Policy


class Reloading:
    """Looks at the files of one runtime's policy; while they are wrong the version before stays.

    Raises (when it is made):
        InvalidPolicy: the first version is wrong.
    """

    def __init__(self, source: str | Path) -> None:
        self._services: Services | None = None
        self._watcher = PolicyWatcher(source)
        self._reloader = PolicyReloader(self._watcher, on_change=self._adopt, on_problem=self._keep_old)

    @property
    def policy(self) -> Policy:
        """As the files have it now."""
        return self._watcher.policy

    def start(self, services: Services) -> None:
        """Look at them from now on, if they can change, and put new versions in force there."""
        self._services = services
        if self._watcher.can_change:
            self._reloader.start()

    def stop(self) -> None:
        """Look at them no more."""
        self._reloader.close()

    def _adopt(self, policy: Policy) -> None:
        """Put a new policy in force from the next call on, in scopes that are open as well."""
        try:
            before = self._acting.adopt(policy)
        except InvalidPolicy as problem:
            self._keep_old(problem)
            return
        self._emit(problem="")
        if before is not None:
            before.close()

    def _keep_old(self, problem: InvalidPolicy) -> None:
        self._emit(problem=str(problem))

    def _emit(self, *, problem: str) -> None:
        services = self._acting
        source, stamp = str(self._watcher.source), services.stamp({})
        services.events.emit(PolicyReloaded(**stamp, source=source, accepted=not problem, problem=problem))

    @property
    def _acting(self) -> Services:
        assert self._services is not None, "nothing is put in force before the start"
        return self._services
