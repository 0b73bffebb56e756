"""Who is who in the demo: three teachers, the tokens they get, and the check of these tokens.

This is what an identity provider and the API gateway are to HuleEdu's services.
"""

from collections.abc import Sequence
from dataclasses import asdict

from aiohttp import web
from aiohttp.typedefs import Handler

from doorstep.config.settings import AuthSettings
from doorstep.demo.problems import Refused
from doorstep.demo.teachers import TEACHERS
from doorstep.demo.wire import now
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.signer import Signer

TOKEN_LIFETIME_S = 600
GATEWAY_PORT = web.AppKey("gateway_port", int)

_USER = web.RequestKey("user", str)


class Identity:
    """`GET /demo/teachers`; `POST /demo/session` `{"user_id": …}` -> `{"token", "user_id", "expires_in_s",
    "websocket_url", "server_time"}`.

    Needs a shared secret in the settings: raises `AuthSetupError` where there is none.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._signer = Signer(settings)
        self._authenticator = Authenticator(settings)

    def mint(self, user_id: str) -> str:
        """A token for this user, good for ten minutes."""
        return self._signer.sign(user_id, TOKEN_LIFETIME_S)

    def routes(self) -> Sequence[web.RouteDef]:
        """What it serves."""
        return [web.get("/demo/teachers", self._teachers), web.post("/demo/session", self._session)]

    @web.middleware
    async def identify(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests under `/v1/` that have no valid token."""
        if request.path.startswith("/v1/"):
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                raise Refused(401, "token_missing", "Send the header `Authorization: Bearer <token>`.")
            request[_USER] = (await self._authenticator.authenticate(token)).user_id
        return await handler(request)

    async def _teachers(self, request: web.Request) -> web.Response:
        return web.json_response([asdict(teacher) for teacher in TEACHERS])

    async def _session(self, request: web.Request) -> web.Response:
        match await request.json():
            case {"user_id": str(user_id)} if any(one.user_id == user_id for one in TEACHERS):
                answer = {"token": self.mint(user_id), "user_id": user_id, "expires_in_s": TOKEN_LIFETIME_S}
                place_and_time = {"websocket_url": _websocket_url(request), "server_time": now()}
                return web.json_response(answer | place_and_time)
        raise Refused(404, "no_such_teacher", "user_id must be one of /demo/teachers.")


def user_of(request: web.Request) -> str:
    """The user whose token came with a request under `/v1/`."""
    return request[_USER]


def _websocket_url(request: web.Request) -> str:
    # By the name that the browser knows this machine by.
    url = request.url.with_scheme("ws").with_port(request.app[GATEWAY_PORT]).with_path("/v1/ws")
    return str(url)
