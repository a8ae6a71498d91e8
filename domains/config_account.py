"""Carrying out what a plan says of the account itself: its lists, its CA, tunnels, channels, and ports of servers."""

from collections.abc import Sequence
from typing import Any

import msgspec

from accounts.models import User
from domains.authorities import put_authority
from domains.config_plan import Step
from domains.config_states import AccountSettings, ChannelState, ServerState, TunnelState
from domains.models import Domain
from lumos.errors import AppError, InvalidInput
from lumos_agent.document import ConfigForward, ConfigLists, ConfigOwnChannel, ConfigSubscription
from notifications.channels import add_channel, change_channel, remove_channel
from notifications.models import Channel
from notifications.outbox import ensure_default
from servers.floods import put_flood
from servers.forwards import add_forward, change_forward, remove_forward
from servers.models import Forward, Server, Tunnel
from servers.services import add_server, change_server
from servers.tunnels import add_tunnel, change_network, remove_tunnel
from waf.guards import put_under_attack
from waf.lists import end_subscription, replace_lists
from waf.models import ListSubscription
from waf.subscriptions import add_subscription, change_interval

SERVER_FIELDS = ("name", "region", "public_ipv4", "public_ipv6")


def put_account(step: Step[AccountSettings], actor: User) -> None:
    """Make the account's settings what the step says."""
    before, after = step.before or AccountSettings(), step.after
    if after is None:
        raise ValueError("the settings of an account are never deleted")
    put_under_attack(under_attack=after.under_attack, actor=actor)
    if after.lists != before.lists:
        put_lists(None, after.lists, actor)
    put_subscriptions(None, before.subscriptions, after.subscriptions, actor)
    if after.certificate_authority != before.certificate_authority:
        ca = after.certificate_authority
        values = dict.fromkeys(("directory_url", "email", "external_key_id"), "")
        put_authority(**(msgspec.structs.asdict(ca) if ca else values), sealed_keys={}, actor=actor)
    if after.tunnel_network is not None and after.tunnel_network != before.tunnel_network:
        change_network(network_text=after.tunnel_network.network, mtu=after.tunnel_network.mtu, actor=actor)
    if after.own_channel != before.own_channel:
        _put_own_channel(after.own_channel, actor)


def _put_own_channel(wanted: ConfigOwnChannel, actor: User) -> None:
    ensure_default()
    change_channel(channel=Channel.objects.get(is_default=True), actor=actor, **msgspec.structs.asdict(wanted))


def put_lists(domain: Domain | None, lists: ConfigLists, actor: User) -> None:
    """Make the lasting entries of a domain, or of all, what a document says."""
    replace_lists(
        domain=domain,
        allow=[entry.network for entry in lists.allow],
        deny=[entry.network for entry in lists.deny],
        notes={(kind, entry.network): entry.note for kind in ("allow", "deny") for entry in getattr(lists, kind)},
        actor=actor,
    )


def put_subscriptions(
    domain: Domain | None,
    before: Sequence[ConfigSubscription],
    after: Sequence[ConfigSubscription],
    actor: User,
) -> None:
    """End the subscriptions that are not wanted and begin the new ones; those that stay keep their entries."""
    if after == before:
        return
    wanted = {(one.kind, one.url): one.interval_hours for one in after}
    for row in ListSubscription.objects.filter(domain=domain):
        hours = wanted.get((row.kind, row.url))
        if hours is None:
            end_subscription(subscription=row, actor=actor)
        elif hours != row.interval_hours:
            change_interval(subscription=row, interval_hours=hours, actor=actor)
    known = {(one.kind, one.url) for one in before}
    for (kind, url), hours in wanted.items():
        if (kind, url) not in known:
            add_subscription(domain=domain, kind=kind, url=url, interval_hours=hours, actor=actor)


def put_tunnels(steps: Sequence[Step[TunnelState]], actor: User, *, is_adding: bool) -> None:
    """Add tunnels, before the domains that name them, or remove them afterwards."""
    for step in steps:
        if is_adding and step.after is not None:
            add_tunnel(name=step.name, actor=actor)
        elif not is_adding and step.after is None:
            remove_tunnel(tunnel=Tunnel.objects.get(name=step.name), actor=actor)


def put_server(step: Step[ServerState], actor: User) -> None:
    """Create or change a server, its flood limits and its forwards."""
    after = step.after
    if after is None:
        raise ValueError("the step deletes the server")
    values = {name: getattr(after, name) for name in SERVER_FIELDS}
    before = step.before or ServerState(name=after.name)
    if step.before is None:
        server, _ = add_server(actor=actor, **values)
    else:
        server = change_server(server=Server.objects.get(name=step.name), actor=actor, **values)
    if after.flood != before.flood:
        put_flood(server=server, actor=actor, **msgspec.structs.asdict(after.flood))
    if after.forwards != before.forwards:
        _put_forwards(server, after.forwards, actor)


def _put_forwards(server: Server, wanted: Sequence[ConfigForward], actor: User) -> None:
    ports = {(forward.protocol, forward.port): forward for forward in wanted}
    rows = {(row.protocol, row.port): row for row in Forward.objects.filter(server=server)}
    for key in rows.keys() - ports.keys():
        remove_forward(forward=rows[key], actor=actor)
    for key, forward in ports.items():
        values: dict[str, Any] = msgspec.structs.asdict(forward)
        if key in rows:
            change_forward(forward=rows[key], actor=actor, **values)
        else:
            add_forward(server=server, actor=actor, **values)


def put_channels(steps: Sequence[Step[ChannelState]], actor: User) -> None:
    """Add, change and remove channels.

    Raises:
        InvalidInput: a channel cannot be told, by its name.
    """
    rows = {row.name: row for row in Channel.objects.filter(is_default=False)}
    for step in steps:
        try:
            _put_channel(step, rows.get(step.name), actor)
        except AppError as error:
            raise InvalidInput(f"{step.name}: {error.detail}", field="channels") from error


def _put_channel(step: Step[ChannelState], row: Channel | None, actor: User) -> None:
    if step.after is None:
        if row is not None:
            remove_channel(channel=row, actor=actor)
        return
    values = dict(vars(step.after))
    if row is None:
        add_channel(actor=actor, **values)
    else:
        del values["kind"]
        change_channel(channel=row, actor=actor, **values)
