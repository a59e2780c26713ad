"""The forms a metered call takes: functions, coroutines, generators, streams, blocks.

Each drives the same two phases (`drive`) and differs in where it waits. Import from the modules.
"""
