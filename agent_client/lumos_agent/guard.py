"""Rate rules and the bot check of one domain, as data: the same types in API, snapshot and renderer."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from lumos_agent.grammar import ExemptPath, HeaderName, KeyName, PathPrefix, RateName, StatusListOrNone

RATES_MAX = 16
EXEMPT_MAX = 50
# A visitor's counter is kept in one of these windows, which HAProxy's tables have (render/guards.py).
WINDOWS_SECONDS = (10, 60, 600, 3600)
Window = Literal[10, 60, 600, 3600]

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Methods = Annotated[tuple[Method, ...], Meta(max_length=7)]


class RateRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How many requests one client may send within a sliding window; conditions that are empty hold for any request.

    `key` says who is one client: an address (IPv6: its /64), an address at one path, the value of a request header
    (`name`, else Authorization) or of the cookie `name`; whoever sends none counts by address. With `statuses` only
    answers with these codes count. `action` is taken from the first request over the limit: `limit` answers 429,
    `challenge` lets those pass who passed the bot check, `ban` answers 429 and has the client's address denied by all
    shields of the account for an hour.
    """

    id: RateName
    requests: Annotated[int, Meta(ge=1, le=100_000)]
    window_seconds: Window = 60
    key: Literal["address", "address-and-path", "token", "cookie"] = "address"
    name: KeyName = ""
    path: PathPrefix = ""
    methods: Methods = ()
    header: KeyName = ""
    statuses: StatusListOrNone = ""
    action: Literal["limit", "challenge", "ban"] = "limit"

    def __post_init__(self) -> None:
        if self.key == "cookie" and not self.name:
            raise ValueError("say in `name` which cookie tells clients apart")
        if self.name and self.key not in ("token", "cookie"):
            raise ValueError("`name` is for the keys token and cookie only; leave it empty")


class BotCheck(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """When visitors must prove that a browser works for them, how hard that is, and who need not.

    `under_attack` asks everybody whatever the mode; with `escalation` the shield does so itself while it sees an
    attack (attack.py).
    """

    mode: Literal["off", "suspicious", "always"] = "off"
    level: Literal["low", "medium", "high"] = "medium"
    under_attack: bool = False
    escalation: Literal["off", "auto"] = "off"
    exempt_paths: Annotated[tuple[ExemptPath, ...], Meta(max_length=EXEMPT_MAX)] = ()
    exempt_methods: Methods = ()
    token_headers: Annotated[tuple[HeaderName, ...], Meta(max_length=5)] = ()


class Guard(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What one domain asks of its visitors besides its policy."""

    rates: Annotated[tuple[RateRule, ...], Meta(max_length=RATES_MAX)] = ()
    bot_check: BotCheck = BotCheck()

    def __post_init__(self) -> None:
        ids = [rule.id for rule in self.rates]
        if len(set(ids)) != len(ids):
            raise ValueError("two rate rules have the same id")
