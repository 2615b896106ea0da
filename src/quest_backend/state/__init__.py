"""Valkey: keys, scripts, repositories, and the embedded server."""
