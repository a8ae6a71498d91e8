"""The suite: unit/ (services, pure code), api/, gateway/, agent/, e2e/."""
