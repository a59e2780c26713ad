"""Several documents as one policy: lists are joined, mappings too, and nothing is said twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from costscope.policy.document import Document, cut

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costscope.policy.document import Place, Steps

__all__ = ["merge"]

_LISTS: Final = frozenset({"budgets", "routing"})
_MAPPINGS: Final[dict[str, int]] = {"webhooks": 1, "prices": 2}
"""Fields whose entries may come from several documents, and how deep the entries are."""


def merge(documents: Iterable[Document], name: str) -> Document:
    """One document of several, whose shapes are right.

    Args:
        documents: each a mapping that the decoder has taken.
        name: of the whole, for errors.

    Raises:
        InvalidPolicy: two of them have a budget or route of the same id, or say different things about the same.
    """
    merging = _Merging(name)
    for document in documents:
        merging.add(document)
    return merging.document()


class _Merging:
    def __init__(self, name: str) -> None:
        self._name = name
        # What a policy says, as plain data; its types are the decoder's matter.
        self._data: dict[str, Any] = {}
        self._moved: dict[Steps, tuple[Document, Steps]] = {}
        self._ids: dict[tuple[str, str], tuple[Document, Steps]] = {}

    def document(self) -> Document:
        return Document(self._data, self._name, moved=self._moved)

    def add(self, document: Document) -> None:
        assert isinstance(document.data, dict), "the decoder takes mappings only"
        for field, value in document.data.items():
            if field in _LISTS:
                self._extend(document, field, value)
            else:
                self._put(document, self._data, (field,), value, _MAPPINGS.get(field, 0))

    def _extend(self, document: Document, field: str, items: list[dict[str, Any]]) -> None:
        joined = self._data.setdefault(field, [])
        for index, item in enumerate(items):
            place = (document, (field, index))
            first = self._ids.setdefault((field, item["id"]), place)
            if first[0] is not document:
                there = first[0].place((*first[1], "id"))
                document.refuse(
                    f"{cut(item['id'])} is the id of one in {_where(there)} too; ids are unique over all files",
                    (field, index, "id"),
                )
            self._moved[field, len(joined)] = place
            joined.append(item)

    def _put(self, document: Document, mapping: dict[str, Any], steps: Steps, value: Any, depth: int) -> None:
        key = steps[-1]
        assert isinstance(key, str), "lists are joined elsewhere"
        if depth and isinstance(value, dict):
            inside = mapping.setdefault(key, {})
            for name, inner in value.items():
                self._put(document, inside, (*steps, name), inner, depth - 1)
        elif key not in mapping:
            mapping[key] = value
            self._moved[steps] = (document, steps)
        elif mapping[key] != value:
            self._contradicts(document, steps)

    def _contradicts(self, document: Document, steps: Steps) -> NoReturn:
        first, place = self._moved[steps]
        document.refuse(f"{_where(first.place(place))} says otherwise; say it in one place only", steps)


def _where(place: Place) -> str:
    return f"{place.file}:{place.line}" if place.line is not None else str(place.file)
