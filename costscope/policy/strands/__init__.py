"""The policy files of strands-costguard (budgets.yaml, routing.yaml, pricing.yaml), read as they are.

A file is recognised by what only that format has: `routing_policies`, `pricing`, budgets with `scope` or `max_cost`.
It may say more, in our own words.
"""
