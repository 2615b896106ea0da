"""Work that is done beside the server: scoring recordings."""
