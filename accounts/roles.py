"""Role x action x object: the only table that says who may do what, for pages and API alike."""

import enum
from dataclasses import dataclass

from accounts.models import Role, Scope


class Action(enum.StrEnum):
    """What is done with an object. An API key is allowed an action by the scope of the same name."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Thing(enum.StrEnum):
    """What it is done with."""

    CONFIGURATION = "configuration"  # servers, domains, WAF, lists; events and metrics to read
    API_KEYS = "api_keys"
    TEAM = "team"  # memberships and invitations
    AUDIT = "audit"
    ACCOUNT = "account"  # its name, its rules for members, its end


_NOTHING: frozenset[Action] = frozenset()
_READ = frozenset({Action.READ})
_WRITE = _READ | {Action.WRITE}
_ALL = _WRITE | {Action.ADMIN}

# ADMIN of the configuration is what loses something for good: a server, its token, what an import leaves out.
TABLE: dict[Thing, dict[str, frozenset[Action]]] = {
    Thing.CONFIGURATION: {Role.OWNER: _ALL, Role.ADMIN: _ALL, Role.MEMBER: _WRITE, Role.VIEWER: _READ},
    Thing.API_KEYS: {Role.OWNER: _ALL, Role.ADMIN: _ALL, Role.MEMBER: _NOTHING, Role.VIEWER: _NOTHING},
    Thing.TEAM: {Role.OWNER: _ALL, Role.ADMIN: _ALL, Role.MEMBER: _READ, Role.VIEWER: _READ},
    Thing.AUDIT: {Role.OWNER: _ALL, Role.ADMIN: _ALL, Role.MEMBER: _NOTHING, Role.VIEWER: _NOTHING},
    Thing.ACCOUNT: {Role.OWNER: _ALL, Role.ADMIN: _READ, Role.MEMBER: _READ, Role.VIEWER: _READ},
}
KEY_ALLOWS: dict[str, frozenset[Action]] = {Scope.READ: _READ, Scope.WRITE: _WRITE, Scope.ADMIN: _ALL}


@dataclass(frozen=True)
class Grants:
    """What a request may do: its person's role, narrowed by the scope of an API key if one is used."""

    role: str
    key_scope: str | None = None

    def may(self, action: Action, thing: Thing = Thing.CONFIGURATION) -> bool:
        """Look it up."""
        by_key = _ALL if self.key_scope is None else KEY_ALLOWS[self.key_scope]
        return action in TABLE[thing][self.role] and action in by_key

    def names(self) -> set[str]:
        """Return all that is granted as "read_team", for templates."""
        return {f"{action}_{thing}" for thing in Thing for action in Action if self.may(action, thing)}
