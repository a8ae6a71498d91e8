"""Shields: enrolment, desired state, the gateway, metrics."""
