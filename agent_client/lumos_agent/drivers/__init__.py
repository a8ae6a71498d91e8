"""One module per daemon that the agent drives."""
