"""Socket.IO: WebSocket frames, Engine.IO sessions, Socket.IO packets. Knows no fleet."""
