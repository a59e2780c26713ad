"""Mistakes that only the machines of `ledger_twins.corners` come to for certain."""

CORNER_SCRIPT = {
    "units ignore what is held": (
        "max(cell[LIMIT] - cell[SPENT] - cell[HELD] - amount, 0)",
        "max(cell[LIMIT] - cell[SPENT] - amount, 0)",
    ),
    "what is said of slots may overflow": ("IS_SLOT[meter] and 0 or actuals[meter]", "actuals[meter]"),
    "two choices of meters look the same": ("amounts.mask * 16 + meter", "amounts.mask * 7 + meter"),
}

QUEUE_CORNER_SCRIPT = {
    "a place that was given up is the oldest": ("queue.oldest = queue.oldest ~= own and queue.oldest", ""),
    "an older ticket that comes later is overlooked": (
        "queue.oldest = queue.oldest and queue.oldest < own and queue.oldest",
        "",
    ),
}

CORNER_REFERENCE = {
    "what is said of slots may overflow": ("and meter not in SLOTS\n            and cell", "and cell")
}
