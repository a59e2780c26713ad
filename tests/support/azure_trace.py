"""A production hour, of which the demo has a part, replayed as normal work of agents.

The trace does not say which requests belong together, so the hour is cut into runs in many ways: whole, into stretches of it,
and each of these into 1 to 100 agents that work side by side and take turns (`cut`); and into agents that take up work at
random and stay with it for a while, which makes bursts and pauses (`dealt`). It has no failures, and no prompts but their
lengths: two requests of the same length count as the same call here, which is more often than they are.
"""

from __future__ import annotations

import csv
import datetime as dt
import random
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from costscope.engine.control.runaway import Detector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costscope.engine.control.runaway import Suspicion
    from costscope.policy.model.controls import Runaway

__all__ = ["AGENTS", "CUTS", "FOLDER", "Request", "cut", "dealt", "replay", "requests"]

FOLDER = Path(__file__).parents[1] / "data"
AGENTS = (1, 2, 3, 5, 10, 20, 50, 100)
CUTS = {
    "whole": (3600, 3600),
    "halves": (1800, 1800),
    "forty minutes": (2400, 400),
    "half an hour": (1800, 400),
}
"""How long the stretches are, and how far apart they begin, in seconds."""


class Request(NamedTuple):
    """One call."""

    at_s: float
    """After the first one."""
    context: int
    """Tokens sent."""
    generated: int
    """Tokens that came back."""
    failed: bool = False

    @property
    def cost(self) -> int:
        """At 2.50 and 10.00 a million tokens, in nano-units."""
        return self.context * 2500 + self.generated * 10_000


def requests() -> list[Request]:
    """All 8,819, in order."""
    text = (FOLDER / "AzureLLMInferenceTrace_code.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    times = [dt.datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in rows]
    return [
        Request((at - times[0]).total_seconds(), int(row["ContextTokens"]), int(row["GeneratedTokens"]))
        for at, row in zip(times, rows, strict=True)
    ]


def cut(trace: Sequence[Request], length_s: int, step_s: int, agents: int) -> Iterator[list[Request]]:
    """The runs of one way to cut the hour."""
    begin_s = 0
    while begin_s == 0 or begin_s + length_s <= trace[-1].at_s + 180:
        stretch = [one for one in trace if begin_s <= one.at_s < begin_s + length_s]
        for agent in range(agents):
            yield stretch[agent::agents]
        begin_s += step_s


def dealt(trace: Sequence[Request], agents: int, stays: float, seed: int) -> Iterator[list[Request]]:
    """The hour as the runs of so many agents; the agent of one call makes the next one as well with this probability."""
    chance, runs, now = random.Random(seed), [[] for _ in range(agents)], 0
    for one in trace:
        if chance.random() >= stays:
            now = chance.randrange(agents)
        runs[now].append(one)
    yield from runs


def replay(run: Sequence[Request], rule: Runaway) -> list[tuple[int, Suspicion]]:
    """What a detector says about a run: at which of its requests, and what; each reason as often as it is suspected."""
    detector, found = Detector(rule), []
    for number, one in enumerate(run):
        said = detector.on_settled(one.context, one.cost, round(one.at_s * 1000), failed=one.failed)
        if said is not None:
            found.append((number, said))
    return found
