"""Stores of other packages, opened by URL: what is said when one cannot be."""

from __future__ import annotations

import pytest

from costscope.errors import StoreMisconfigured
from costscope.stores.registry import open_store

COMPLETE = """
    from costscope_memory import open_url as open_memory

    def open_url(url):
        return open_memory("memory://")
"""


@pytest.fixture
def install_store(install):
    """Installs a package with a store for `acme://`."""
    return lambda code: install(
        "acme-store", code, group="costscope.stores", points={"acme": "acme_store:open_url"}
    )


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_client", "acme:// of the package acme-store needs the module no_such_client"),
        ("from costscope import no_such_name", "the package acme-store cannot be imported: ImportError"),
    ],
)
def test_a_store_of_another_package_names_that_package_and_what_is_missing(install_store, code, says):
    install_store(code)
    with pytest.raises(StoreMisconfigured) as refused:
        open_store("acme://secret@host")
    assert says in str(refused.value)
    assert "costscope[" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_store_of_another_package_is_opened_by_its_scheme(install_store):
    install_store(COMPLETE)
    store = open_store("acme://host")
    assert store.url == "memory://"
    store.close()


def test_a_store_without_a_board_is_none(install_store):
    """Whoever asks a store for records need not ask first whether it can."""
    install_store(
        "class open_url:\n    url, waits, keep_ms = '', False, 0\n    def __init__(self, url): pass\n    execute = aexecute = on_lost = snapshot = audit = close = aclose = print\n"
    )
    with pytest.raises(StoreMisconfigured, match=r"acme:// gives a open_url, .* it has no tell, atell$"):
        open_store("acme://host")
