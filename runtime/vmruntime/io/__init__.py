"""Files in and out: the only place where other conventions than the runtime's own appear."""
