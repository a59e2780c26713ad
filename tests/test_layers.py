"""The packages of costscope import one another in one direction, and nobody imports another module's private names."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import costscope

ROOT = Path(costscope.__file__).parent
DEFAULT_RUNTIME = ("costscope.scope.budget_scope", "costscope.scope.default_runtime")
"""The one import upwards: `budget_scope` acts on the default runtime where it is given none."""


def imports_of(path: Path) -> list[tuple[str, str]]:
    """`(module, name)` of what the file imports from costscope when it runs, functions included; types are left out."""
    found: list[tuple[str, str]] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "costscope":
            found.extend((node.module or "", alias.name) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def name_of(path: Path) -> str:
    return ".".join(("costscope", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def edges() -> list[tuple[str, str]]:
    """Which module imports which, of all."""
    modules = {name_of(path): path for path in ROOT.rglob("*.py")}
    return [
        (name, full if (full := f"{module}.{imported}") in modules else module)
        for name, path in modules.items()
        for module, imported in imports_of(path)
    ]


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_packages_import_one_another_in_one_direction():
    graph: dict[str, set[str]] = {}
    for one, other in edges():
        if (one, other) != DEFAULT_RUNTIME and package(one) != package(other):
            graph.setdefault(package(one), set()).add(package(other))
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"packages import one another in a circle: {' -> '.join(error.args[1])}")
    assert order.index("ledger") < order.index("enforcement") < order.index("run") < order.index("call")


def test_the_exception_is_one():
    assert DEFAULT_RUNTIME in edges()


def test_nobody_imports_private_names():
    private = [
        f"{path.relative_to(ROOT)}: {module}.{name}"
        for path in ROOT.rglob("*.py")
        for module, name in imports_of(path)
        if any(part.startswith("_") and not part.startswith("__") for part in (*module.split("."), name))
    ]
    assert private == []
