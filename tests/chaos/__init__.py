"""A fleet under faults: real servers, stores and clients; what breaks, and what must still be true.

``python -m chaos`` (``make chaos``) runs it; ``docs/chaos.md`` says what is done and checked.
"""
