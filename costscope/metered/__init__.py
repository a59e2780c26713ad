"""The forms a metered call takes: functions, coroutines, generators, streams, blocks. Import from the modules."""
