"""One module a command: `add` declares its arguments, `run` does it and imports what it needs."""
