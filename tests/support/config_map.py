"""A folder whose files are replaced all at once, as Kubernetes does it with a mounted ConfigMap."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["mount_config_map"]


def mount_config_map(folder: Path, version: str, text: str) -> None:
    """The version in a hidden folder of its own, and `..data`, through which `budgets.yaml` leads, moved to it."""
    hidden, data = folder / f"..{version}", folder / "..data"
    hidden.mkdir()
    (hidden / "budgets.yaml").write_text(text, encoding="utf-8")
    before = data.resolve() if data.is_symlink() else None
    (folder / "..data_tmp").symlink_to(hidden.name)
    (folder / "..data_tmp").replace(data)
    if before is None:
        (folder / "budgets.yaml").symlink_to("..data/budgets.yaml")
    else:
        shutil.rmtree(before)
