"""What policies do beside refusing: effects of thresholds, routes, runaways. No I/O. Import from the modules."""
