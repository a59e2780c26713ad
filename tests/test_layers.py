"""Modules import one another without a circle, private names stay where they are, and a call is changed by itself only.

Looked at is the source of costscope and of both stores, imports that are there for types only included.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import costscope
import costscope_memory
import costscope_valkey

TOPS = tuple(Path(top.__file__).parent for top in (costscope, costscope_memory, costscope_valkey))
CALL, HOLD = "costscope.engine.state.call", "costscope.engine.state.hold"


def name_of(path: Path, top: Path) -> str:
    return ".".join((top.name, *path.relative_to(top).with_suffix("").parts)).removesuffix(".__init__")


TREES = {
    name_of(path, top): ast.parse(path.read_text()) for top in TOPS for path in sorted(top.rglob("*.py"))
}


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in {top.name for top in TOPS}


def imports_of(tree: ast.Module) -> list[tuple[str, str]]:
    """`(module, name)` of all that is imported of ours, in functions and for types as well; the name may be empty."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            found += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
    return [(module, name) for module, name in found if is_ours(module)]


def graph_of(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Which module imports which, of all."""
    return {
        name: {
            full if (full := f"{module}.{imported}") in trees else module
            for module, imported in imports_of(tree)
        }
        - {name}
        for name, tree in trees.items()
    }


def room(module: str) -> str:
    """The package at the top of costscope it is in, or one of its single files there; a store is one room."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "costscope" else parts[0]


def rooms_of(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {}
    for module, imported in graph.items():
        rooms.setdefault(room(module), set()).update(
            room(other) for other in imported if room(other) != room(module)
        )
    return rooms


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """One circle, each after what it is imported by; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_all_modules_are_looked_at():
    assert {CALL, HOLD, "costscope", "costscope_memory", "costscope_valkey.link"} <= TREES.keys()
    graph = graph_of(TREES)
    assert CALL in graph["costscope.engine.call.drive"], "in its types only"
    assert "costscope.observe.webhooks.sender" in graph["costscope.engine.state.services"], (
        "in a function only"
    )
    assert "costscope.engine.state" not in graph["costscope.engine.call.drive"]


def test_no_modules_import_one_another_in_a_circle():
    assert circle_in(graph_of(TREES)) == []


def test_no_rooms_import_one_another_in_a_circle():
    rooms = rooms_of(graph_of(TREES))
    assert {"costscope.engine", "costscope.ledger", "costscope_memory"} <= rooms.keys()
    assert circle_in(rooms) == []


@pytest.mark.parametrize(
    ("module", "statement", "circles"),
    [
        ("costscope.ledger.ids", "from costscope.scope import scope", (True, True)),
        ("costscope.ledger.ids", "import costscope.scope.scope", (True, True)),
        ("costscope.ledger.ids", "def f():\n    from costscope.scope.scope import Scope", (True, True)),
        (
            "costscope.ledger.ids",
            "if TYPE_CHECKING:\n    from costscope.scope.scope import Scope",
            (True, True),
        ),
        (HOLD, "if TYPE_CHECKING:\n    from costscope.engine.state.call import Call", (True, False)),
        ("costscope.ledger.ids", "from costscope_memory import store", (True, True)),
    ],
)
def test_a_circle_would_be_found(module, statement, circles):
    changed = ast.Module([*TREES[module].body, *ast.parse(statement).body], [])
    graph = graph_of(TREES | {module: changed})
    assert (circle_in(graph) != [], circle_in(rooms_of(graph)) != []) == circles


def test_nobody_imports_private_names():
    private = [
        f"{importing}: {module}.{name}"
        for importing, tree in TREES.items()
        for module, name in imports_of(tree)
        if any(part.startswith("_") and not part.startswith("__") for part in (*module.split("."), name))
    ]
    assert private == []


# ------------------------------------------------------------------------- who changes a call


def class_in(module: str, name: str) -> ast.ClassDef:
    (found,) = [node for node in TREES[module].body if isinstance(node, ast.ClassDef) and node.name == name]
    return found


def fields_of_a_call() -> set[str]:
    """What a call has: what its class and that of holds declare, and what they assign."""
    fields = set()
    for node in (*ast.walk(class_in(CALL, "Call")), *ast.walk(class_in(HOLD, "Hold"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            fields.add(node.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            fields.add(node.attr)
    return fields


def names_of_calls(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """What a call is called in a function: the arguments of that type, and the usual names."""
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    said = {one.arg: ast.unparse(one.annotation) for one in arguments if one.annotation is not None}
    return {"call", "_call"} | {
        name for name, text in said.items() if {"Call", "Hold"} & set(text.replace('"', "").split(" | "))
    }


def changes_of_calls(tree: ast.Module) -> set[str]:
    """Each field of a call that a module assigns or deletes, as the source says it."""
    fields, found = fields_of_a_call(), set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        calls = names_of_calls(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                owner = node.value
                name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
                if name in calls and (node.attr in fields or name in {"call", "_call"}):
                    found.add(ast.unparse(node))
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "__setattr__")):
                owner = ast.unparse(node.args[0]) if node.args else ""
                if owner.rpartition(".")[2] in calls:
                    found.add(ast.unparse(node))
    return found


def test_only_a_call_changes_itself():
    changed = {name: found for name, tree in TREES.items() if (found := changes_of_calls(tree))}
    changed.pop(CALL, None)
    changed.pop(HOLD, None)
    assert changed == {}


@pytest.mark.parametrize(
    "source",
    [
        "def f(call): call.phase = 3",
        "def f(call): call.phase += 1",
        "def f(self): self._call.amounts = {}",
        "def f(hold: Hold): hold.settled = None",
        "async def f(one: Call | None): one.hold_id, x = '', 1",
        "def f(one: Call): del one.span",
        "def f(call): setattr(call, 'phase', 3)",
        "def f(call): object.__setattr__(call, 'phase', 3)",
    ],
)
def test_a_change_of_a_call_would_be_found(source):
    assert len(changes_of_calls(ast.parse(source))) == 1


def test_what_is_not_a_change_of_a_call_is_none():
    assert (
        changes_of_calls(
            ast.parse("def f(self, call, run: Run): run.phase = call.phase; self.name = call.name")
        )
        == set()
    )
    assert {"phase", "amounts", "hold_id", "settled", "span", "routes", "failed"} <= fields_of_a_call()


# ------------------------------------------------------------------------- no inheritance


@pytest.mark.parametrize("facade", [costscope.Scope, costscope.Runtime])
def test_a_facade_is_made_of_nothing_and_nothing_is_made_of_it(facade):
    assert facade.__mro__ == (facade, object)
    assert facade.__subclasses__() == []


def test_no_class_in_the_source_is_made_of_a_scope_or_a_runtime():
    bases = {
        ast.unparse(base).rpartition(".")[2]
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    }
    assert "Hold" in bases
    assert not bases & {"Scope", "Runtime", "ScopeState", "Services"}
