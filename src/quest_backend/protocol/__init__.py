"""The wire contract: event catalogue, payload types, error codes, limits."""
