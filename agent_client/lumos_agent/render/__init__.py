"""Pure functions from a snapshot to the text of a daemon's configuration."""
