"""Runs: admission, slots with a heartbeat, iterations, the clock, the end and its status. Import from the modules."""
