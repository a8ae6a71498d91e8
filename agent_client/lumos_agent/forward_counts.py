"""What forwards passed on, cumulative, for metrics.py to take the difference of."""

from collections.abc import Iterable

from lumos_agent import protocol
from lumos_agent.drivers.forwards import TcpForwards
from lumos_agent.drivers.nftables import Nftables
from lumos_agent.schema import Snapshot

FIELDS = ("sessions", "bytes_in", "bytes_out", "packets_in", "packets_out")
Counts = tuple[int, int, int, int, int]
# {(forward id, worker that counts): counts}; a new worker begins at zero.
Readings = dict[str, Counts]
_BETWEEN = "@"


class ForwardCounts:
    """Reads HAProxy's and the kernel's counters, if anything is forwarded."""

    def __init__(self, tcp: TcpForwards, udp: Nftables) -> None:
        self._tcp = tcp
        self._udp = udp

    async def read(self, snapshot: Snapshot | None) -> Readings:
        """Return the counters of all forwards of a snapshot that can be read now."""
        forwards = () if snapshot is None else snapshot.forwards
        found: Readings = {}
        if any(forward.protocol == "tcp" for forward in forwards):
            worker, passed = await self._tcp.passed()
            for name, one in passed.items():
                found[f"{name}{_BETWEEN}{worker}"] = (one.sessions, one.bytes_in, one.bytes_out, 0, 0)
        udp = {forward.port: forward.id for forward in forwards if forward.protocol == "udp"}
        if udp:
            for port, (packets_in, bytes_in, packets_out, bytes_out) in (await self._udp.counts()).items():
                if port in udp:
                    found[f"{udp[port]}{_BETWEEN}"] = (0, bytes_in, bytes_out, packets_in, packets_out)
        return found


def difference(before: Readings, now: Readings, hour: int) -> tuple[protocol.ForwardTraffic, ...]:
    """Return what was passed on between two readings; counters that fell began anew in between."""
    found = []
    for key, counts in sorted(now.items()):
        known = before.get(key, (0,) * len(FIELDS))
        if any(a < b for a, b in zip(counts, known, strict=True)):
            known = (0,) * len(FIELDS)
        grown = [a - b for a, b in zip(counts, known, strict=True)]
        if any(grown):
            forward_id = key.partition(_BETWEEN)[0]
            named = dict(zip(FIELDS, grown, strict=True))
            found.append(protocol.ForwardTraffic(forward_id=forward_id, hour=hour, **named))
    return tuple(found)


def kept(before: Readings, now: Readings, forward_ids: Iterable[str]) -> Readings:
    """Return the baselines of the next difference: what could not be read now stays as it was."""
    wanted = set(forward_ids)
    return {key: counts for key, counts in (before | now).items() if key.partition(_BETWEEN)[0] in wanted}
