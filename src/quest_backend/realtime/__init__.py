"""The Socket.IO edge: a packet is checked once, a feature decides, effects are sent."""
