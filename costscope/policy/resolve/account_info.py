"""What an account says about itself, for reports: whose it is, which window, which limits."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.policy.model.periods import Period

if TYPE_CHECKING:
    from costscope.ledger.commands import Account


class AccountInfo(msgspec.Struct, frozen=True):
    """What `Account.about` says, for reports: the ledger itself reads none of it."""

    budget: str
    labels: dict[str, str | None]
    """The labels the account is split by; None for the scopes that lack that label."""
    period: Period
    start_ms: int
    end_ms: int
    """The window in ms since the epoch; 0 and 0 for none."""
    limits: dict[str, int]
    """Meter to limit, in the ledger's units (`cost`: nano-units)."""

    @property
    def present(self) -> dict[str, str]:
        """The labels that its scopes do have."""
        return {name: value for name, value in self.labels.items() if value is not None}


write_account_info: Final = msgspec.json.Encoder().encode
"""Encode what `Account.about` says, as bytes of UTF-8."""

_decoder: Final = msgspec.json.Decoder(AccountInfo)


def read_account_info(about: str | bytes) -> AccountInfo:
    """Decode `Account.about`.

    Raises:
        msgspec.DecodeError: not what `account` or `inline_account` wrote.
    """
    return _decoder.decode(about)


@lru_cache(maxsize=4096)
def account_info_of(about: str) -> AccountInfo:
    """Decode `Account.about` once, and remember it: it is the same text call after call."""
    return read_account_info(about)


def resets_at(account: Account) -> datetime | None:
    """Say when an account's window ends, in UTC; None if it never does."""
    return datetime.fromtimestamp(account.end_ms / 1000, UTC) if account.end_ms else None
