"""The Lumos agent: drives HAProxy on a shield from the snapshots that the control plane sends."""

__version__ = "0.1.0"
