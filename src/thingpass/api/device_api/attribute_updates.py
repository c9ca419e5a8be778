"""`GET attributes/updates`: the next change of the device's shared attributes."""

from __future__ import annotations

from thingpass.api.device_api.exchange import ClientGone, Exchange
from thingpass.api.device_api.long_polls import AttributePoll, timeout_s
from thingpass.servers.device_payloads import attributes_change


async def get_attribute_updates(exchange: Exchange) -> None:
    services, device_id = exchange.services, exchange.device.id
    limit_s = timeout_s(exchange.parameters(), services.settings.longest_poll_s)
    poll = AttributePoll()
    with exchange.watch_client() as gone:
        services.pushes.listen(device_id, poll)
        try:
            if not await services.polls.wait(device_id, poll, limit_s, gone):
                raise ClientGone
        finally:
            services.pushes.leave(device_id, poll)
        await exchange.answer(body=attributes_change(poll.saved, poll.removed))
