"""Messages between agent and gateway: JSON objects with a `type`, one per WebSocket text frame.

Where WebSockets are refused, the agent posts a list of them (`Poll`, `Hello`, others) and gets a list back.

State, not commands: the gateway sends whole snapshots with a rising (epoch, revision); the agent reports what it runs.
A batch is kept by the agent until `BatchAck`, which is sent after the commit that counted it.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from lumos_agent.grammar import Address, Id, Port, ProbeKey, Served
from lumos_agent.tunnel import PEERS_MAX, KeyNumber, PublicKey
from lumos_agent.zone import ZONES_MAX, DnsKey

PROTOCOL_VERSION = 1
SUBPROTOCOL = "lumos.v1"
MESSAGE_BYTES_MAX = 65 * 1024 * 1024
AGENT_MESSAGE_BYTES_MAX = 1024 * 1024
PIECE_BYTES_MAX = 512 * 1024
POLL_BYTES_MAX = 8 * 1024 * 1024
SNAPSHOT_CHARACTERS_MAX = 900_000  # with the rest below the megabyte that servers of WebSockets take at once
HEARTBEAT_SECONDS = 10
PEER_DEADLINE_SECONDS = 25
BATCH_EVENTS_MAX = 500
BATCH_ATTACKS_MAX = 100
CHALLENGES_MAX = 1000
ORIGINS_MAX = 1000
CERTIFICATES_MAX = 100  # each with a reason of its own, in less than a megabyte
PROBES_MAX = 1000
PROBED_MAX = 8
BUCKETS_MAX = 64

# Codes of our own (RFC 6455 section 7.4.2): servers refuse to send those of the protocol itself, such as 1012.
CLOSE_UNAUTHORISED = 4401
CLOSE_RECONNECT = 4408
CLOSE_REPLACED = 4409
CLOSE_PROTOCOL = 4426

Count = Annotated[int, Meta(ge=0, le=2**53)]
Moment = Annotated[float, Meta(ge=0, le=2**33)]
Rate = Annotated[float, Meta(ge=0, le=2**53)]
Digest = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{64})?\Z")]
Text = Annotated[str, Meta(max_length=2048)]
ChallengeText = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,257}\Z")]
Country = Annotated[str, Meta(pattern=r"\A(?:[A-Z]{2})?\Z")]
EventAction = Literal["block", "detect", "limit", "challenge"]
Report = Annotated[str, Meta(max_length=16_384)]


class Message(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all messages. Unknown fields are ignored so that old and new versions can talk."""


# Agent -> gateway


class Facts(Struct, frozen=True, kw_only=True):
    """What the agent knows about its machine. Times are Unix seconds; keys are sealed to `sealing_key` (sealing.py).

    Probes are answered at `probe_port`; 0 is an agent that knows nothing of them. `takes_errands`: root's unit is there
    to do what an `Errand` asks.
    """

    agent_version: Text = ""
    hostname: Text = ""
    os: Text = ""
    kernel: Text = ""
    haproxy_version: Text = ""
    haproxy_features: tuple[Text, ...] = ()
    cpu_count: Count = 0
    memory_bytes: Count = 0
    disk_bytes: Count = 0
    clock: float = 0.0
    sealing_key: Text = ""
    probe_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    takes_errands: bool = False


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First message of a connection; `digest` is of the running configuration, empty before the first apply."""

    protocol: int
    boot_id: Id
    epoch: Text
    revision: Count
    digest: Digest
    facts: Facts


class Poll(Message, frozen=True, kw_only=True, tag="poll"):
    """What a poll begins with, before `Hello`: when the next one comes at the latest, and what came before.

    (`epoch`, `revision`) is the configuration that the gateway named last in this conversation; `holds_challenges`
    says whether this shield answers challenges of others.
    """

    interval_seconds: Annotated[int, Meta(ge=1, le=3600)]
    epoch: Text = ""
    revision: Annotated[int, Meta(ge=-1)] = -1
    holds_challenges: bool = False


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Sent every `HEARTBEAT_SECONDS`. `workers` counts HAProxy worker generations alive.

    `geo` says why lists of countries or autonomous systems have no effect here; empty when they have, or are not used.
    """

    clock: float
    haproxy_running: bool
    workers: Count = 0
    haproxy_uptime_seconds: Count = 0
    connections: Count = 0
    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    disk_percent: float = 0.0
    geo: Text = ""
    agent_rss_bytes: Count = 0


class Resend(Message, frozen=True, kw_only=True, tag="resend"):
    """A patch does not fit what this agent holds: send the whole snapshot."""


class RunningSnapshot(Message, frozen=True, kw_only=True, tag="running_snapshot"):
    """Answer to `SnapshotWanted`: what this shield serves. `content`: zlib, then Base64; empty if it is too long."""

    epoch: Text
    revision: Count
    digest: Digest
    content: Annotated[str, Meta(max_length=SNAPSHOT_CHARACTERS_MAX)]


class Applied(Message, frozen=True, kw_only=True, tag="applied"):
    """The configuration is served: sent only after the worker that runs it has answered a probe."""

    epoch: Text
    revision: Count
    digest: Digest
    how: Literal["nothing", "runtime", "reload"]
    reason: Text = ""
    duration_ms: Count = 0


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """The configuration is not served; `message` has the daemon's own words."""

    epoch: Text
    revision: Count
    digest: Digest
    stage: Literal["guard", "decode", "render", "write", "check", "switch", "reload", "probe"]
    message: Report
    rolled_back: bool


class Incident(Message, frozen=True, kw_only=True, tag="incident"):
    """Something an operator should know, such as a restart of HAProxy."""

    kind: Literal["haproxy_crash", "repaired", "waf_failed"]
    message: Report


class CertificateStatus(Struct, frozen=True, kw_only=True):
    """Where a domain's certificate on this shield stands. `not_after`: Unix seconds, 0 if there is none."""

    domain_id: Id
    state: Literal["none", "provisioning", "active", "renewing", "failed"]
    reason: Text = ""
    not_after: Annotated[float, Meta(ge=0, le=253_402_300_799)] = 0.0  # the end of the year 9999 (RFC 5280, 4.1.2.5)


class Certificates(Message, frozen=True, kw_only=True, tag="certificates"):
    """The certificates whose status changed, or some of all of them after a reconnect."""

    statuses: Annotated[tuple[CertificateStatus, ...], Meta(max_length=CERTIFICATES_MAX)]


class ChallengePublish(Message, frozen=True, kw_only=True, tag="challenge_publish"):
    """All shields of a domain should answer this challenge, HTTP-01 or for a wildcard DNS-01 (RFC 8555, 8.3, 8.4)."""

    domain_id: Id
    token: ChallengeText
    key_authorization: ChallengeText


class ChallengesWithdrawn(Message, frozen=True, kw_only=True, tag="challenges_withdrawn"):
    """These challenges that this shield published are over."""

    tokens: Annotated[tuple[ChallengeText, ...], Meta(max_length=CHALLENGES_MAX)]


class ChallengesHeld(Message, frozen=True, kw_only=True, tag="challenges_held"):
    """This shield answers these challenges of others now."""

    tokens: Annotated[tuple[ChallengeText, ...], Meta(max_length=CHALLENGES_MAX)]


class OrderWanted(Message, frozen=True, kw_only=True, tag="order_wanted"):
    """May this shield order a certificate for a domain now? The CA's limits count the orders of all shields."""

    domain_id: Id


class OriginState(Struct, frozen=True, kw_only=True):
    """How one origin does by the shield's checks, in `state` since (Unix seconds); `reason` says why it is down."""

    origin_id: Id
    state: Literal["up", "down", "maintenance", "unchecked"]
    reason: Text = ""
    since: Moment


class Origins(Message, frozen=True, kw_only=True, tag="origins"):
    """The origins whose state changed, or all of them after a reconnect."""

    states: Annotated[tuple[OriginState, ...], Meta(max_length=ORIGINS_MAX)]


class ProbeResult(Struct, frozen=True, kw_only=True):
    """What probes of one address of another shield settled on; `seconds` is how long the last one took."""

    server_id: Id
    address: Address
    is_ok: bool
    reason: Text = ""
    seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0


class Probes(Message, frozen=True, kw_only=True, tag="probes"):
    """The results that changed, or all of them after a reconnect."""

    results: Annotated[tuple[ProbeResult, ...], Meta(max_length=PROBES_MAX)]


class TunnelKey(Struct, frozen=True, kw_only=True):
    """The public half of the shield's key with `number`."""

    number: KeyNumber
    public_key: PublicKey


class TunnelState(Struct, frozen=True, kw_only=True):
    """How the tunnel to one origin does: by which of the shield's keys and the origin's, when they shook hands last
    (Unix seconds, 0: not since the interface was made) and what was carried since then.
    """

    tunnel_id: Id
    number: KeyNumber
    public_key: PublicKey
    handshake_at: Moment = 0.0
    received_bytes: Count = 0
    sent_bytes: Count = 0


class TunnelReport(Message, frozen=True, kw_only=True, tag="tunnels"):
    """The shield's keys, and the tunnels whose state changed, or all of them after a reconnect."""

    keys: Annotated[tuple[TunnelKey, ...], Meta(max_length=2)]
    states: Annotated[tuple[TunnelState, ...], Meta(max_length=PEERS_MAX)] = ()


class ZoneKey(Struct, frozen=True, kw_only=True):
    """The public half of the key with which the shield signs a zone."""

    zone_id: Id
    public_key: DnsKey


class ZoneKeys(Message, frozen=True, kw_only=True, tag="zone_keys"):
    """The keys that the shield signs zones with and that its snapshot does not name yet."""

    keys: Annotated[tuple[ZoneKey, ...], Meta(max_length=ZONES_MAX)]


class ErrandDone(Message, frozen=True, kw_only=True, tag="errand_done"):
    """How an errand went; a poll may consist of this alone, because root sends it while no agent runs."""

    id: Id
    is_done: bool
    message: Report = ""


class Traffic(Struct, frozen=True, kw_only=True):
    """What one domain served within one hour (`hour`: Unix seconds of its start, UTC) since the last batch.

    `timings` is how long visitors waited for origins, {bound of a bucket: answers} (timings.py).
    """

    domain_id: Id
    hour: Count
    timings: Annotated[dict[int, Count], Meta(max_length=BUCKETS_MAX)] = {}
    requests: Count = 0
    bytes_in: Count = 0
    bytes_out: Count = 0
    status_1xx: Count = 0
    status_2xx: Count = 0
    status_3xx: Count = 0
    status_4xx: Count = 0
    status_5xx: Count = 0
    blocked: Count = 0


class Event(Struct, frozen=True, kw_only=True):
    """One request that was stopped, or would have been (`detect`). Texts are cut, never empty-padded.

    `place` is where the decisive finding was, with the parameter's name, such as ``query:q``. `country` (ISO 3166-1)
    and `asn` are the client's by the shield's own databases; "" and 0 if they do not say.
    """

    request_id: Text
    time: float
    domain_id: Id
    client: Text
    country: Country = ""
    asn: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    method: Text
    host: Text
    path: Text
    query: Text = ""
    user_agent: Text = ""
    rules: tuple[Text, ...] = ()
    score: Count = 0
    matched: Text = ""
    place: Text = ""
    action: EventAction


class RuleHits(Struct, frozen=True, kw_only=True):
    """For how many requests of one hour (`hour` as in `Traffic`) a custom rule held since the last batch."""

    rule: Id
    hour: Count
    hits: Count


class ForwardTraffic(Struct, frozen=True, kw_only=True):
    """What one forward passed on within one hour (`hour` as in `Traffic`) since the last batch."""

    forward_id: Id
    hour: Count
    sessions: Count = 0
    bytes_in: Count = 0
    bytes_out: Count = 0
    packets_in: Count = 0
    packets_out: Count = 0


class Attack(Struct, frozen=True, kw_only=True):
    """An attack on a domain, named by (domain, `began`); `ended` is 0 while it goes on. Times are Unix seconds.

    `reason` is what gave it away. The numbers are of that moment, `normal_per_second` of the time before, and
    `peak_per_second` of the whole attack. `is_checked`: every visitor had to pass the bot check.
    """

    domain_id: Id
    began: Moment
    ended: Moment = 0.0
    reason: Literal["requests", "errors", "challenges"]
    is_checked: bool = False
    requests_per_second: Rate = 0.0
    normal_per_second: Rate = 0.0
    peak_per_second: Rate = 0.0
    errors_per_second: Rate = 0.0
    challenges_per_second: Rate = 0.0


class Batch(Message, frozen=True, kw_only=True, tag="batch"):
    """Counters, events, hits of custom rules and news of attacks, counted once by (server, `boot_id`, `seq`).

    `seq` starts at 1 and has no gaps; `at` is when the counters were read.
    """

    boot_id: Id
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    at: Moment = 0.0
    traffic: tuple[Traffic, ...] = ()
    events: Annotated[tuple[Event, ...], Meta(max_length=BATCH_EVENTS_MAX)] = ()
    events_dropped: Count = 0
    hits: tuple[RuleHits, ...] = ()
    attacks: Annotated[tuple[Attack, ...], Meta(max_length=BATCH_ATTACKS_MAX)] = ()
    forwards: tuple[ForwardTraffic, ...] = ()


# Gateway -> agent


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """Answer to `Hello`."""

    server_id: Id
    epoch: Text
    heartbeat_seconds: Count = HEARTBEAT_SECONDS


class InSync(Message, frozen=True, kw_only=True, tag="in_sync"):
    """What the agent runs is what is wanted: remember (epoch, revision), change nothing."""

    epoch: Text
    revision: Count
    digest: Digest


class SnapshotWanted(Message, frozen=True, kw_only=True, tag="snapshot_wanted"):
    """The control plane does not know what this shield serves (its database was restored) and asks for it."""


class Config(Message, frozen=True, kw_only=True, tag="config"):
    """A whole snapshot. `allow_shrink` says that people removed what this drops."""

    epoch: Text
    revision: Count
    digest: Digest
    snapshot: msgspec.Raw
    allow_shrink: bool = False


class Patch(Message, frozen=True, kw_only=True, tag="patch"):
    """What leads from the snapshot sent last (`base`: its digest) to the one wanted; the rest is as there.

    `domains` and `lists` replace those of the same id, or scope and bucket. A listing without networks is removed, and
    a removed domain's lists go with it.
    """

    epoch: Text
    revision: Count
    digest: Digest
    base: Digest
    domains: tuple[msgspec.Raw, ...] = ()
    lists: tuple[msgspec.Raw, ...] = ()
    removed_domains: tuple[Id, ...] = ()
    allow_shrink: bool = False


class BatchAck(Message, frozen=True, kw_only=True, tag="batch_ack"):
    """The batch is committed; the agent forgets it."""

    boot_id: Id
    seq: Count


class Challenges(Message, frozen=True, kw_only=True, tag="challenges"):
    """The challenges that this shield should answer for others: {token: key authorization}, all of them.

    `dns`: {token: hostname} of those that are answered by DNS (RFC 8555, 8.4).
    """

    entries: dict[ChallengeText, ChallengeText]
    dns: dict[ChallengeText, Served] = {}


class ChallengeReady(Message, frozen=True, kw_only=True, tag="challenge_ready"):
    """`waiting` connected shields do not answer a published challenge yet."""

    token: ChallengeText
    waiting: Count


class Peer(Struct, frozen=True, kw_only=True):
    """A shield to probe: its public addresses, and the key with which it proves itself (Base64)."""

    server_id: Id
    addresses: Annotated[tuple[Address, ...], Meta(max_length=8)]
    port: Port
    key: ProbeKey


class Peers(Message, frozen=True, kw_only=True, tag="peers"):
    """With which key this shield answers probes, and whom it probes."""

    key: ProbeKey
    peers: Annotated[tuple[Peer, ...], Meta(max_length=PROBED_MAX)] = ()


class OrderAnswer(Message, frozen=True, kw_only=True, tag="order_answer"):
    """Answer to `OrderWanted`: it is counted, or held back for `retry_seconds`; `reason` is for people."""

    domain_id: Id
    is_granted: bool
    reason: Text = ""
    retry_seconds: Count = 0


class Errand(Message, frozen=True, kw_only=True, tag="errand"):
    """What root is to do on this shield, once for each `id`: leave the machine as it was, or upgrade the agent.

    `version` and `sha256` are of the wheel that the dashboard serves.
    """

    id: Id
    kind: Literal["uninstall", "upgrade"]
    version: Annotated[str, Meta(pattern=r"\A[0-9A-Za-z.+]{0,64}\Z")] = ""
    sha256: Digest = ""


class HeartbeatAck(Message, frozen=True, kw_only=True, tag="heartbeat_ack"):
    """Answer to `Heartbeat`."""

    clock: float


class Retry(Message, frozen=True, kw_only=True, tag="retry"):
    """The gateway cannot serve now; reconnect after about `after_seconds` (with jitter)."""

    after_seconds: Count
    message: Text = ""


AgentMessage = (
    Poll
    | Hello
    | Heartbeat
    | Resend
    | RunningSnapshot
    | Applied
    | Failed
    | Incident
    | Batch
    | Origins
    | Probes
    | TunnelReport
    | ZoneKeys
    | Certificates
    | OrderWanted
    | ChallengePublish
    | ChallengesWithdrawn
    | ChallengesHeld
    | ErrandDone
)
GatewayMessage = (
    Welcome
    | InSync
    | SnapshotWanted
    | Config
    | Patch
    | BatchAck
    | HeartbeatAck
    | Retry
    | Challenges
    | ChallengeReady
    | OrderAnswer
    | Peers
    | Errand
)

agent_decoder: msgspec.json.Decoder[AgentMessage] = msgspec.json.Decoder(AgentMessage)
poll_decoder: msgspec.json.Decoder[list[AgentMessage]] = msgspec.json.Decoder(list[AgentMessage])
gateway_decoder: msgspec.json.Decoder[GatewayMessage] = msgspec.json.Decoder(GatewayMessage)
poll_answer_decoder: msgspec.json.Decoder[list[GatewayMessage]] = msgspec.json.Decoder(list[GatewayMessage])
encode = msgspec.json.encode


def pieces(message: GatewayMessage) -> tuple[list[bytes], str]:
    """Return a message as WebSocket messages: binary ones if it is long, and the text that completes it.

    Servers and proxies bound a WebSocket message, often to 1 MiB.
    """
    data = encode(message)
    last = (len(data) - 1) // PIECE_BYTES_MAX * PIECE_BYTES_MAX
    while data[last] & 0xC0 == 0x80:  # inside a character (RFC 3629, 3)
        last -= 1
    return [data[at : min(at + PIECE_BYTES_MAX, last)] for at in range(0, last, PIECE_BYTES_MAX)], data[last:].decode()
