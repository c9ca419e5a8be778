"""The telemetry routes' errors: the bare sentence, not the error object (rest-api reference 1.4, 5.8)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from thingpass.api.authorization import GuardedRoute, RequestHandler
from thingpass.api.error_answers import answer_of
from thingpass.api.telemetry_entities import BadEntity
from thingpass.errors import ThingpassError


class PlainSentenceRoute(GuardedRoute):
    """What the guard refuses still gets the object; so does a parameter of the wrong type."""

    def make_handler(self) -> RequestHandler:
        handle = super().make_handler()

        async def handle_plainly(request: Request) -> Response:
            try:
                return await handle(request)
            except BadEntity:
                raise
            except ThingpassError as error:
                sentence = error.sentence if error.mend is None else f"{error.sentence} {error.mend}"
                return PlainTextResponse(sentence, answer_of(error).status)

        return handle_plainly
