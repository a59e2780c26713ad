"""docs/api.md has every public name, with the signature and the members that the code has."""

import inspect
import re
from pathlib import Path

import pytest

import costscope
import costscope.errors
import costscope.prices
import costscope.testing
import costscope.testing.conformance

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
PREFIXES = {
    costscope: "",
    costscope.testing: "costscope.testing.",
    costscope.testing.conformance: "costscope.testing.conformance.",
}
OBJECTS = {
    prefix + name: getattr(module, name) for module, prefix in PREFIXES.items() for name in module.__all__
} | {f"costscope.prices.{name}": getattr(costscope.prices, name) for name in ("PriceSource", "Quote")}
SECTIONS = dict(re.findall(r"^### `([\w.]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
RAISED = [name for name, one in OBJECTS.items() if inspect.isclass(one) and issubclass(one, Exception)]


class Text:
    """An annotation or default that is shown as it was written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def signature(function, name: str, *, annotated: bool = True) -> str:
    def shown(annotation):
        return Text(annotation) if isinstance(annotation, str) else annotation

    found = inspect.signature(function)
    parameters = [
        one.replace(
            annotation=shown(one.annotation) if annotated else one.empty,
            default=Text(one.default.__name__) if inspect.isbuiltin(one.default) else one.default,
        )
        for one in found.parameters.values()
        if one.name != "self"
    ]
    returned = shown(found.return_annotation) if annotated else found.empty
    return name + str(found.replace(parameters=parameters, return_annotation=returned))


def without_space(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_every_public_name_has_its_section_and_every_section_a_public_name():
    assert set(SECTIONS) == set(OBJECTS) - set(RAISED)


@pytest.mark.parametrize("name", RAISED)
def test_every_exception_is_on_the_page_of_errors_and_listed_here(name):
    assert f"`{name}`" in PAGE
    assert re.search(rf"^ *{name}\b", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_tree_of_errors_is_the_one_of_the_code():
    [tree] = re.findall(
        r"^```text\n(CostscopeError\n.*?)^```$",
        (DOCS / "errors.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    above: list[str] = []
    for line in filter(None, tree.splitlines()):
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
        above[depth:] = [name]
        if depth:
            assert issubclass(getattr(costscope.errors, name), getattr(costscope.errors, above[depth - 1]))
    assert set(re.findall(r"^ *(\w+)", tree, re.MULTILINE)) == set(costscope.errors.__all__) - {"DenialKind"}


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_says_what_the_code_says(name):
    section, documented = SECTIONS[name], OBJECTS[name]
    for shown in re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        assert without_space(shown) == without_space(signature(documented, name.rpartition(".")[2]))
    for member in members(section):
        attribute, call, _ = member.partition("(")
        found = getattr(documented, attribute, None)
        if call:
            assert member == signature(found, attribute, annotated=False)
        else:
            assert found is not None or attribute in vars(documented).get("__doc__", "") + inspect.getsource(
                documented
            )
            assert not inspect.isfunction(found), f"{member} is a method"


def members(section: str) -> list[str]:
    """The first column of the table of members."""
    table = re.search(r"^\| member \| meaning \|\n(.*?)^$", section + "\n", re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| (`.*?`) \|", table[1], re.MULTILINE) if table else []
    return [member for cell in cells for member in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(("name", "most"), [("Scope", 25), ("Runtime", 15)])
def test_a_scope_and_a_runtime_show_what_is_described_and_nothing_else(name, most):
    with costscope.Runtime() as runtime, costscope.budget_scope(runtime=runtime) as scope:
        shown = dir({"Scope": scope, "Runtime": runtime}[name])
    public = [member for member in shown if not member.startswith("_")]
    assert sorted(member.partition("(")[0] for member in members(SECTIONS[name])) == public
    assert len(public) <= most


def test_every_option_of_the_decorators_is_described():
    from costscope.metered.decorators import MeterOptions

    options = set(re.findall(r"^\| `(\w+)` \|", SECTIONS["metered_tool"], re.MULTILINE))
    assert options == set(MeterOptions.__annotations__)


def test_every_argument_of_a_runtime_is_described():
    [table] = re.findall(
        r"^\| argument \| meaning \|\n(.*?)^$", SECTIONS["Runtime"], re.MULTILINE | re.DOTALL
    )
    described = {
        name
        for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert described == set(inspect.signature(costscope.Runtime).parameters)
