"""Programs that a test starts and talks to."""

from __future__ import annotations

import contextlib
import subprocess


@contextlib.contextmanager
def started(command, **options):
    """Start a program and wait for its end; kill it where the test fails, which would else wait for ever."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
