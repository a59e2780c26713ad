"""`costscope demo`: many agents, three tenants, nested budgets, a killed worker, and two bills that must agree."""

from costscope.cli.demo.bill import over_budget
from costscope.cli.demo.result import DemoResult
from costscope.cli.demo.scenario import Path, Scenario

__all__ = ["DemoResult", "Path", "Scenario", "over_budget"]
