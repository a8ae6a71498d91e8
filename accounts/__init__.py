"""People, tenants, memberships and API keys."""
