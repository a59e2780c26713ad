"""What calls, runs and iterations have in common where a budget has a say: refusals, waiting, clocks, what is told.

Import from the modules.
"""
