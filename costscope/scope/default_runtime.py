"""The default runtime: what the module-level functions act on."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

from costscope.errors import StoreWarning
from costscope.scope.runtime import Runtime, services_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from costscope.engine.state.services import Services
    from costscope.policy.load.loader import PolicySource
    from costscope.scope.runtime import RuntimeOptions
    from costscope.stores import Store


class _Default:
    """The default runtime, with what it has at work: every metered call looks there."""

    runtime: Runtime | None = None
    services: Services | None = None

    def replace(self, runtime: Runtime | None) -> Runtime | None:
        """Make this the default one; return the one before it."""
        with _lock:
            before, self.runtime = self.runtime, runtime
            self.services = None if runtime is None else services_of(runtime)
        return before


_lock = Lock()
default: Final = _Default()


def configure(
    store: str | Store | None = None, policy: PolicySource | None = None, **options: Unpack[RuntimeOptions]
) -> Runtime:
    """Make the default runtime; the one before it is closed.

    Args:
        store: a store or its URL; by default `$COSTSCOPE_STORE`, else `memory://`.
        policy: a policy file or folder, a mapping or a `Policy`; by default what the environment says
            (`$COSTSCOPE_POLICY` and the variables of docs/policy.md), else no budgets.
        options: see `Runtime`.

    Raises:
        StoreMisconfigured, InvalidPolicy: what was named cannot be used; the old runtime stays.
    """
    return set_runtime(
        Runtime(
            store=store or os.environ.get("COSTSCOPE_STORE") or "memory://",
            policy=policy if policy is not None else _environments_policy(),
            **options,
        )
    )


def set_runtime(runtime: Runtime) -> Runtime:
    """Make this the default runtime; the one before it is closed."""
    before = default.replace(runtime)
    if before is not None and before is not runtime:
        before.close()
    return runtime


@contextmanager
def default_in_block(runtime: Runtime) -> Iterator[Runtime]:
    """Make this the default runtime for a block; the one before it stays open and comes back.

    The default is one for the whole process, not for a thread or a task: this is for tests.
    """
    before = default.replace(runtime)
    try:
        yield runtime
    finally:
        default.replace(before)


def _environments_policy() -> str | None:
    if not any(name.startswith("COSTSCOPE_") for name in os.environ):
        return None
    from costscope.policy.load.environment import environment_source  # noqa: PLC0415 - with all that reads policies

    return environment_source()


def get_runtime() -> Runtime:
    """Return the default runtime; made from the environment when `configure` was not called."""
    if default.runtime is None:
        if not os.environ.get("COSTSCOPE_STORE"):
            warnings.warn(
                "costscope was not configured: the books are in this process's memory, shared with no other process and gone "
                "when it ends. Call costscope.configure(store=...) or set COSTSCOPE_STORE.",
                StoreWarning,
                stacklevel=_callers_level(),
            )
        configure()
    assert default.runtime is not None, "configure sets it"
    return default.runtime


def _callers_level() -> int:
    """Return the stack level of the first caller outside this library: where the warning is of use."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 - the documented way to look at one's callers
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("costscope."):
        level, frame = level + 1, frame.f_back
    return level
