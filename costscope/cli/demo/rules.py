"""The policy of the demo: budgets at four levels, runs, thresholds that act, one route, and a watch for runaways."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from costscope.cli.demo.scenario import AGENT_DEPTH, LABELS, TENANTS, run_of, usd

if TYPE_CHECKING:
    from costscope.cli.demo.scenario import Path, Scenario

__all__ = ["LARGE", "MODELS", "PERCENTS", "RUNAWAY", "SMALL", "TOOLS", "budget_of", "policy_of"]

LARGE: Final = "demo-large"
SMALL: Final = "demo-small"
MODELS: Final = {
    LARGE: {"input": "2.50", "output": "10.00", "max_output_tokens": 2048},
    SMALL: {"input": "0.15", "output": "0.60", "max_output_tokens": 2048},
}
"""Prices for the policy, in USD per million tokens; those of two models of a well-known provider."""
TOOLS: Final = {"web_search": "0.001", "run_code": "0.0004", "old_service": "0"}
"""USD per call."""

PERCENTS: Final = (50, 80, 95)
"""The thresholds of each tenant."""
_ACTIONS: Final[dict[tuple[str, int], object]] = {
    ("acme", 80): "downgrade_model",
    ("birch", 95): "halt_new_runs",
    ("cedar", 80): {"limit_capabilities": {"max_tokens": 0.5}},
}
"""What a tenant's threshold does beside telling everybody."""
RUNAWAY: Final = {"failures": 3, "repeats": 10}
"""So many calls show that a run is out of control; these are the defaults."""
_PLACES_PERCENT: Final = {"acme": 75}
"""Of the tenant's agents, how many may be in a run at once; the others wait for their turn."""
_RUNS_PERCENT: Final = {"cedar": 75}
"""Of the runs its agents want, how many a tenant may make in a day."""
_PATIENCE: Final = "120s"


def budget_of(tenant: str) -> str:
    """The id of a tenant's budget, which has the thresholds."""
    return f"{tenant}-day"


def policy_of(scenario: Scenario) -> dict[str, object]:
    """The policy of the workers. A program of your own would have it in a file."""
    crowd = Counter(agent[0] for agent in scenario.agents)
    tenants = [tenant for tenant in TENANTS if crowd[tenant]]
    return {
        "budgets": [
            *(_tenant(scenario, tenant, crowd[tenant]) for tenant in tenants),
            *(_places(tenant, crowd[tenant]) for tenant in tenants),
            *(_level(scenario, path, {}) for path in scenario.limits if len(path) == AGENT_DEPTH - 1),
            *_agents(scenario),
        ],
        "routing": [
            {
                "id": "cheaper",
                "models": [LARGE],
                "stages": [{"fallbacks": [SMALL], "downgrade_on": {"soft_threshold_exceeded": True}}],
            }
        ],
        "runaway": RUNAWAY | {"actions": ["callback", "halt_run"]},
        "prices": {"models": MODELS, "tools": TOOLS},
    }


def _tenant(scenario: Scenario, tenant: str, agents: int) -> dict[str, object]:
    wanted = agents * scenario.runs
    return _level(scenario, (tenant,), {"runs": max(wanted * _RUNS_PERCENT.get(tenant, 100) // 100, 1)}) | {
        "thresholds": [
            {"at": at, "meter": "cost", "actions": ["callback", *_extra(tenant, at)]} for at in PERCENTS
        ],
        "constraints": {"iterations": scenario.turns},
    }


def _extra(tenant: str, percent: int) -> list[object]:
    action = _ACTIONS.get((tenant, percent))
    return [] if action is None else [action]


def _places(tenant: str, agents: int) -> dict[str, object]:
    return {
        "id": f"{tenant}-places",
        "match": {"tenant": tenant},
        "per": ["tenant"],
        "limits": {"concurrent_runs": max(agents * _PLACES_PERCENT.get(tenant, 100) // 100, 1)},
        "on_denied": {"wait": _PATIENCE},
    }


def _agents(scenario: Scenario) -> list[dict[str, object]]:
    """One budget for all agents of a workflow, who get an account each; it limits their single runs, too."""
    first = {agent[:2]: agent for agent in reversed(scenario.agents)}
    return [
        {
            "id": f"{'-'.join(workflow)}-agent",
            "match": dict(zip(LABELS, (*workflow, "*"), strict=False)),
            "per": list(LABELS[:AGENT_DEPTH]),
            "period": "daily",
            "timezone": scenario.timezone,
            "limits": {"cost": usd(scenario.limits[agent]), "tool_calls": scenario.tool_calls},
            "constraints": {"cost": usd(scenario.limits[run_of(agent, 0)])},
        }
        for workflow, agent in sorted(first.items())
    ]


def _level(scenario: Scenario, path: Path, more: dict[str, Any]) -> dict[str, object]:
    return {
        "id": f"{'-'.join(path)}-day",
        "match": dict(zip(LABELS, path, strict=False)),
        "per": list(LABELS[: len(path)]),
        "period": "daily",
        "timezone": scenario.timezone,
        "limits": {"cost": usd(scenario.limits[path]), **more},
    }
