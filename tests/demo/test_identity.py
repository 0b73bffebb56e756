"""Signing in: the tokens are what Doorstep accepts, for teachers of the demo only."""

import time

import pytest

from doorstep.config.settings import AuthSettings
from doorstep.demo.identity import TOKEN_LIFETIME_S, Identity
from doorstep.demo.teachers import TEACHERS
from doorstep.gateway.auth import Authenticator, AuthSetupError
from tests.demo.conftest import Caller, Services, auth_settings


@pytest.mark.parametrize("extra", [{}, {"issuer": "https://school.example", "audience": "doorstep"}])
async def test_doorstep_accepts_its_tokens(extra: dict[str, str]) -> None:
    settings = auth_settings().model_copy(update=extra)
    claims = await Authenticator(settings).authenticate(Identity(settings).mint("teacher-x"))
    assert claims.user_id == "teacher-x"
    assert claims.expires_at - time.time() == pytest.approx(TOKEN_LIFETIME_S, abs=2)


def test_without_a_secret_nobody_can_sign_in() -> None:
    with pytest.raises(AuthSetupError, match="DOORSTEP_AUTH__HS256_SECRET"):
        Identity(AuthSettings())


async def test_a_teacher_signs_in_and_is_told_where_doorstep_is(services: Services) -> None:
    visitor = Caller(services.url, "", services.http)
    teachers = (await visitor.get("/demo/teachers")).body
    assert [one["user_id"] for one in teachers] == [one.user_id for one in TEACHERS]
    session = (await visitor.post("/demo/session", json={"user_id": teachers[1]["user_id"]})).body
    assert session["user_id"] == teachers[1]["user_id"]
    assert session["websocket_url"] == "ws://127.0.0.1:9/v1/ws"
    signed_in = Caller(services.url, "", services.http, {"Authorization": f"Bearer {session['token']}"})
    assert (await signed_in.get(f"/v1/batches/user/{session['user_id']}")).status == 200


@pytest.mark.parametrize("wanted", [{"user_id": "somebody"}, {"user_id": 7}, {}, []])
async def test_nobody_else_can_sign_in(services: Services, wanted: object) -> None:
    answer = await Caller(services.url, "", services.http).post("/demo/session", json=wanted)
    assert (answer.status, answer.body["code"]) == (404, "no_such_teacher")
