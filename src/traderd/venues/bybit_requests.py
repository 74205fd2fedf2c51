"""What was asked of Bybit in numbered frames, and what its answers are about.

Source: bybit-exchange.github.io/docs/v5, "Connect": an answer carries the `req_id` of the frame that asked, whether it
was granted, and at most a text. Refuses with a BadFrameError a frame that answers nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import count

from traderd.core.errors import BadFrameError
from traderd.core.market import Ack, Heartbeat, VenueEvent
from traderd.venues.bybit_frames import Answer
from traderd.venues.dialect import AnyChannel

Streams = Sequence[tuple[AnyChannel, str]]
"""Channels of symbols, as the venue spells those."""
_UNANSWERED_MAX = 1_000
_NO_WORD = re.compile(r"[^0-9A-Za-z.-]+")


class Requests:
    """The frames of one dialect, numbered from 1."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._asked: dict[int, Mapping[str, Streams]] = {}

    def frame(self, op: str, topics: Mapping[str, Streams]) -> str:
        """Remembers what was asked until it is answered; of what is never answered, the oldest go first."""
        number = next(self._numbers)
        self._asked[number] = topics
        if len(self._asked) > _UNANSWERED_MAX:
            del self._asked[next(iter(self._asked))]
        return json.dumps({"req_id": str(number), "op": op, "args": list(topics)}, separators=(",", ":"))

    def answered(self, answer: Answer) -> Sequence[VenueEvent]:
        """One acknowledgement for each stream that the frame asked for; a refusal that names a topic is that one's.

        What became of the others then, the venue doesn't say: they stay without answer. A frame of others' has one
        without a name; what becomes of leaving a stream is no news.
        """
        if answer.op in ("ping", "pong") or answer.ret_msg == "pong":
            return (Heartbeat(),)
        if answer.success is None:
            raise BadFrameError("unknown_channel")
        number = int(answer.req_id) if _is_number(answer.req_id) else 0
        topics = self._asked.pop(number, {})
        if answer.op == "unsubscribe":
            return ()
        accepted = answer.success or "already subscribed" in answer.ret_msg
        reason = "" if accepted else answer.ret_msg or "refused"
        streams = [stream for asked in topics.values() for stream in asked]
        if not answer.success:
            streams = _named(answer.ret_msg, topics) or streams
        if not streams:
            return (Ack(accepted, "", "", reason, number),)
        return [Ack(accepted, channel, symbol, reason, number) for channel, symbol in streams]


def _named(reason: str, topics: Mapping[str, Streams]) -> list[tuple[AnyChannel, str]]:
    """What the reason speaks of: `error:handler not found,topic:publicTrade.XYZUSDT`, `Invalid symbol :[XYZUSDT]`."""
    words = set(_NO_WORD.split(reason))
    named = [stream for topic in words & topics.keys() for stream in topics[topic]]
    return named or [stream for asked in topics.values() for stream in asked if stream[1] in words]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
