"""What a client may ask for over its websocket: subscriptions and the form of the messages.

Answers and refusals are Binance's (https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams,
"Live subscribing/unsubscribing to streams"). Refuses more streams than one connection may have.
"""

from typing import Any

import msgspec
from msgspec import Struct

from traderd.sim.broadcast import STREAMS_MAX, Broadcast, Listener

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class _Request(Struct):
    method: str
    id: int | str | None = None
    params: list[Any] = []


def reply(broadcast: Broadcast, listener: Listener, message: str | bytes) -> bytes:
    """Do what one message asks, and say so."""
    try:
        request = msgspec.json.decode(message, type=_Request)
    except msgspec.ValidationError as error:
        return _refusal(None, 2, f"Invalid request: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _refusal(None, 3, f"Invalid JSON: {error}")
    if request.method == "LIST_SUBSCRIPTIONS":
        return _result(request, list(listener.streams))
    if request.method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        return _change_streams(broadcast, listener, request)
    if request.method in ("SET_PROPERTY", "GET_PROPERTY"):
        return _property(listener, request)
    return _refusal(
        request.id, 2, f"Invalid request: unknown variant `{request.method}`, expected one of {', '.join(_METHODS)}"
    )


def _change_streams(broadcast: Broadcast, listener: Listener, request: _Request) -> bytes:
    streams = request.params
    if not all(isinstance(stream, str) for stream in streams):
        return _refusal(request.id, 2, "Invalid request: request is not correctly formatted")
    if request.method == "UNSUBSCRIBE":
        broadcast.unsubscribe(listener, streams)
    elif len(listener.streams.keys() | set(streams)) > STREAMS_MAX:
        return _refusal(request.id, 2, f"Invalid request: more than {STREAMS_MAX} streams on one connection")
    elif broadcast.refuses(streams):
        return _refusal(request.id, 2, "Invalid request: too busy")
    else:
        broadcast.subscribe(listener, streams)
    return _result(request, None)


def _property(listener: Listener, request: _Request) -> bytes:
    match request.method, request.params:
        case "GET_PROPERTY", ["combined"]:
            return _result(request, listener.combined)
        case "SET_PROPERTY", ["combined", bool(combined)]:
            listener.combined = combined
            return _result(request, None)
        case "SET_PROPERTY", ["combined", _]:
            return _refusal(request.id, 1, "Invalid value type: expected Boolean")
        case _:
            return _refusal(request.id, 0, "Unknown property")


def _result(request: _Request, result: Any) -> bytes:
    return msgspec.json.encode({"result": result, "id": request.id})


def _refusal(id: int | str | None, code: int, message: str) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "msg": message}, "id": id})
