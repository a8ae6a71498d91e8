"""What the agent asks of the machine: its service, its user, kernel settings; all of it can be taken back."""
