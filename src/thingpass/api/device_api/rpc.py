"""Calls both ways over HTTP: the device waits for one, answers one, makes its own (reference, 2.7 and 6)."""

from __future__ import annotations

from typing import Final

from thingpass.api.device_api.exchange import ClientGone, Exchange
from thingpass.api.device_api.long_polls import RpcPoll, timeout_s
from thingpass.errors import Invalid
from thingpass.messaging.listeners import Delivery
from thingpass.servers.device_payloads import parse_rpc_method, rpc_request_with_id
from thingpass.servers.server_methods import answer_call

MOST_BODY_BYTES: Final = 65_536  # ThingsBoard's bound for these paths
LARGEST_REQUEST_ID: Final = 2**31 - 1


async def get_rpc(exchange: Exchange) -> None:
    """The next call. It counts as delivered when it is written; until then it may go to somebody else.

    Deviates from ThingsBoard: a call that an earlier request took is not given out again, so that a device
    that asks anew while it works on a call does not get the same one for ever.
    """
    services, device_id = exchange.services, exchange.device.id
    limit_s = timeout_s(exchange.parameters(), services.settings.longest_poll_s)
    poll = RpcPoll()
    with exchange.watch_client() as gone:
        services.rpc.resume(device_id, poll)
        try:
            if not await services.polls.wait(device_id, poll, limit_s, gone):
                raise ClientGone
            request, report = poll.request, poll.report
            assert request is not None and report is not None
            call = rpc_request_with_id(request.id, request.method, request.params_json)
            await exchange.answer(body=call)
            report(Delivery.DELIVERED)
        finally:
            services.rpc.leave(device_id, poll)  # a call that was not delivered is offered to the others


async def post_rpc_answer(exchange: Exchange) -> None:
    """The answer to a call, any text. One that nobody waits for is dropped, as on MQTT."""
    text = exchange.argument
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= LARGEST_REQUEST_ID):
        raise Invalid(f"The request's id {text[:20]!r} is not a 31-bit number.")
    await exchange.services.rpc.answered(exchange.device.id, int(text), await exchange.body(MOST_BODY_BYTES))
    await exchange.answer()


async def post_rpc(exchange: Exchange) -> None:
    """A call to the server, answered in the same exchange."""
    method = parse_rpc_method(await exchange.body(MOST_BODY_BYTES))
    await exchange.answer(body=answer_call(method, exchange.services.server_methods, exchange.device))
