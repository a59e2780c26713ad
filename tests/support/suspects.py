"""What makes a run suspect, for tests of the detection of runaways."""

from __future__ import annotations

import contextlib

from costscope import metered_tool

__all__ = ["OFF", "failing"]

OFF = {"failures": 0, "burn_rate": 0, "repeats": 0}
"""Every detector; a test switches on the one it is about."""


def failing(runtime, colour, error=ValueError):
    """A tool that fails when it is told to; the error goes no further."""

    def body(number, *, fails=True):
        if fails:
            raise error(number)

    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(body))

    def call(number, *, fails=True):
        with contextlib.suppress(error):
            colour.run(tool, number, fails=fails)

    return call
