"""Policies, IP lists and the events that they cause."""
