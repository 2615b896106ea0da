"""The REST edge: one router per resource."""
