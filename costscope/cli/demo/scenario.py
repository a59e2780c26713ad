"""What happens in the demo: who the agents are, what each level may spend, what they call.

Everything follows from a few numbers, so the parent and its workers agree without talking to each other.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LABELS", "MODELS", "TOOLS", "Path", "Scenario"]

Path = tuple[str, ...]
"""A node of the tree by its labels: `(tenant,)`, `(tenant, workflow)`, `(tenant, workflow, run)`, and the agent."""

LABELS: Final = ("tenant", "workflow", "run", "agent")

MODELS: Final = {
    "demo-large": {"input": "2.50", "output": "10.00", "max_output_tokens": 2048},
    "demo-small": {"input": "0.15", "output": "0.60", "max_output_tokens": 2048},
}
"""Prices for the policy, in USD per million tokens; those of two models of a well-known provider."""
TOOLS: Final = {"web_search": "0.001", "run_code": "0.0004"}
"""USD per call."""

_TENANTS: Final = {"acme": 50, "birch": 30, "cedar": 20}
"""The tenants and their shares of the budget, in percent."""
_WORKFLOWS: Final = ("research", "support")
_RUNS: Final = ("run-1", "run-2")
_WORKFLOW_PERCENT: Final = 65
_RUN_PERCENT: Final = 55
"""What one of two workflows may take of its tenant, one of two runs of its workflow: together more than that has."""
_AGENT_PERCENT: Final = 110
"""What an agent may take, of an equal share of its run."""


class Scenario(msgspec.Struct, frozen=True, dict=True):
    """One run of the demo."""

    processes: int
    tasks: int
    """Agents in each process."""
    calls: int
    """Calls each agent tries."""
    budget_nano: int
    """What all tenants may spend together, in nano-USD."""
    seed: int
    lease_s: float
    victim: int | None
    """The process that is killed; None: no one is."""
    timezone: str = "UTC"

    @property
    def attempts(self) -> int:
        """Calls that all agents try, if nobody is killed."""
        return self.processes * self.tasks * self.calls

    @property
    def silent_from(self) -> int:
        """From this attempt on the victim's calls are billed and never answered: it has calls in flight when it dies."""
        return self.calls // 4

    def agents_of(self, process: int) -> Iterator[Path]:
        """The agents of a process; each run has agents of several processes."""
        first = process * self.tasks
        return (_agent(index) for index in range(first, first + self.tasks))

    @cached_property
    def limits(self) -> dict[Path, int]:
        """What each tenant, workflow, run and agent may spend, in nano-USD."""
        agents = [agent for process in range(self.processes) for agent in self.agents_of(process)]
        crowd = Counter(agent[:3] for agent in agents)
        limits = self._tenants()
        for agent in agents:
            workflow = limits[agent[:2]] = limits[agent[:1]] * _WORKFLOW_PERCENT // 100
            run = limits[agent[:3]] = workflow * _RUN_PERCENT // 100
            limits[agent] = min(run, run * _AGENT_PERCENT // (100 * crowd[agent[:3]]))
        return dict(sorted(limits.items()))

    @property
    def tool_calls(self) -> int:
        """Tool calls each agent may make: less than it would like to."""
        return max(1, self.calls // 8)

    def policy(self) -> dict[str, object]:
        """The policy of the workers: tenants and workflows by the day; runs and agents have inline limits."""
        budgets: list[dict[str, object]] = []
        for path, limit in self.limits.items():
            if len(path) <= 2:  # noqa: PLR2004 - tenants and workflows
                budgets.append(
                    {
                        "id": f"{'-'.join(path)}-day",
                        "match": dict(zip(LABELS, path, strict=False)),
                        "per": list(LABELS[: len(path)]),
                        "period": "daily",
                        "timezone": self.timezone,
                        "limits": {"cost": usd(limit)},
                    }
                )
        return {"budgets": budgets, "prices": {"models": MODELS, "tools": TOOLS}}

    def _tenants(self) -> dict[Path, int]:
        limits: dict[Path, int] = {
            (name,): self.budget_nano * percent // 100 for name, percent in _TENANTS.items()
        }
        first = next(iter(limits))
        limits[first] += self.budget_nano - sum(
            limits.values()
        )  # the shares add up to the budget, to the nano
        return limits


def usd(nano: int) -> str:
    """Nano-USD as the decimal text a policy or `max_cost` takes, exactly."""
    return f"{nano // 1_000_000_000}.{nano % 1_000_000_000:09d}"


def _agent(index: int) -> Path:
    tenants = tuple(_TENANTS)
    tenant, rest = tenants[index % len(tenants)], index // len(tenants)
    workflow, rest = _WORKFLOWS[rest % len(_WORKFLOWS)], rest // len(_WORKFLOWS)
    return tenant, workflow, _RUNS[rest % len(_RUNS)], f"agent-{index + 1:02d}"
