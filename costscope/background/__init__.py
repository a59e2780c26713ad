"""What goes on beside the calls: the worker, the outbox, lease renewal. Import from the modules."""
