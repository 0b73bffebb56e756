"""Tokens: who gets in, and every known way of cheating."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from doorstep.config.settings import AuthSettings
from doorstep.gateway import key_set
from doorstep.gateway.auth import Authenticator, AuthError, AuthSetupError, Claims, bearer_of
from doorstep.gateway.head import parse_head
from doorstep.gateway.secret import SharedSecret
from tests.gateway.identity import IdentityProvider, SigningKey
from tests.gateway.wire import SECRET, request, token

RSA = SigningKey("rsa-1")


def with_secret(**more: Any) -> Authenticator:
    return Authenticator(AuthSettings(hs256_secret=SecretStr(SECRET), leeway_s=0, **more))


def forged(
    header: dict[str, Any] | bytes, claims: dict[str, Any] | bytes, secret: bytes = SECRET.encode()
) -> str:
    """A token made by hand, signed with HMAC-SHA256 whatever its header says."""

    def part(value: dict[str, Any] | bytes) -> bytes:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = part(header) + b"." + part(claims)
    return (signed + b"." + part(hmac.digest(secret, signed, hashlib.sha256))).decode()


def good_claims(**more: object) -> dict[str, Any]:
    return {"sub": "teacher-1", "exp": time.time() + 60, **more}


HS256 = {"alg": "HS256", "typ": "JWT"}


async def refusal(authenticator: Authenticator, text: str) -> AuthError:
    with pytest.raises(AuthError) as caught:
        await authenticator.authenticate(text)
    return caught.value


async def test_a_valid_token_says_who_and_until_when() -> None:
    expires_at = round(time.time()) + 60.0
    claims = await with_secret().authenticate(token("lärare-1", exp=expires_at))
    assert claims == Claims("lärare-1", expires_at)


async def test_a_token_made_by_hand_like_ours_is_valid() -> None:
    """Shows that the forgeries below fail for what is wrong with them, not for how they are made."""
    assert (await with_secret().authenticate(forged(HS256, good_claims()))).user_id == "teacher-1"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: token(lasts_s=-1), "token_expired"),
        (lambda: token(exp=253402300800), "token_invalid"),
        (lambda: jwt.encode(good_claims(), "another secret of more than 32 bytes", "HS256"), "token_invalid"),
        (lambda: token()[:-4], "token_invalid"),
        (lambda: token() + "A", "token_invalid"),
        (lambda: token() + ".x", "token_invalid"),
        (lambda: "", "token_invalid"),
        (lambda: "..", "token_invalid"),
        (lambda: "a.b.c", "token_invalid"),
        (lambda: "é.é.é", "token_invalid"),
        (lambda: "x" * 9000, "token_invalid"),
        (lambda: forged(HS256, b"[]"), "token_invalid"),
        (lambda: forged(HS256, b"{"), "token_invalid"),
        (lambda: forged(HS256, b"[" * 3000), "token_invalid"),
        (lambda: forged(b"[" * 3000, good_claims()), "token_invalid"),
        (lambda: forged(b"null", good_claims()), "token_invalid"),
    ],
)
async def test_expired_forged_and_malformed_tokens_are_refused(make: Callable[[], str], code: str) -> None:
    assert (await refusal(with_secret(), make())).code == code


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "NONE"},
        {"alg": ""},
        {"alg": None},
        {"alg": ["HS256"]},
        {"alg": {"a": 1}},
        {"typ": "JWT"},
        {"alg": "hs256"},
        {"alg": "HS384"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": "ES256"},
        {"alg": "EdDSA"},
        {"alg": "HS256", "crit": ["unknown"], "unknown": 1},
        {"alg": "HS256", "crit": []},
        {"alg": "HS256", "crit": "b64"},
        {"alg": "HS256", "crit": ["b64"], "b64": True},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"alg": "HS256", "b64": False},
        {"alg": "HS256", "kid": 7},
        {"alg": "RS256", "kid": ["rsa-1"]},
        {"alg": ["RS256"], "kid": "rsa-1"},
    ],
)
async def test_a_header_that_asks_for_something_else_is_refused(
    provider: IdentityProvider, header: dict[str, Any]
) -> None:
    """Whatever tokens are verified by; where a newer key might fit, it can't be judged yet."""
    forgery = forged(header, good_claims())
    assert (await refusal(with_secret(), forgery)).code == "token_invalid"
    for authenticator in (with_keys(provider), with_keys(provider, hs256_secret=SecretStr(SECRET))):
        unjudged = {"auth_unavailable"} if header == {"alg": "RS256"} else set()
        assert (await refusal(authenticator, forgery)).code in {"token_invalid"} | unjudged


@pytest.mark.parametrize("signature", ["", ".", "AAAA"])
async def test_no_signature_is_no_token(signature: str) -> None:
    for header in (HS256, {"alg": "none"}):
        unsigned = forged(header, good_claims()).rpartition(".")[0]
        assert (await refusal(with_secret(), f"{unsigned}.{signature}")).code == "token_invalid"


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "t"},
        {"exp": 4e9},
        {"sub": "t", "exp": None},
        {"sub": "t", "exp": "4000000000"},
        {"sub": "t", "exp": [4e9]},
        {"sub": "t", "exp": "soon"},
        {"sub": None, "exp": 4e9},
        {"sub": 7, "exp": 4e9},
        {"sub": ["t"], "exp": 4e9},
        {"sub": "", "exp": 4e9},
        {"sub": "a\nb", "exp": 4e9},
        {"sub": "a\x00", "exp": 4e9},
        {"sub": "a\x7f", "exp": 4e9},
        {"sub": "a\x85b", "exp": 4e9},
        {"sub": "é" * 129, "exp": 4e9},
        {"sub": "\ud800", "exp": 4e9},
        {"sub": "a{b}", "exp": 4e9},
        {"sub": "t", "exp": 4e9, "nbf": 3.9e9},
        {"sub": "t", "exp": 4e9, "iat": 3.9e9},
        {"sub": "t", "exp": 4e9, "nbf": "x"},
    ],
)
async def test_claims_that_are_missing_or_wrong_are_refused(claims: dict[str, Any]) -> None:
    assert (await refusal(with_secret(), forged(HS256, claims))).code == "token_invalid"


@pytest.mark.parametrize(
    "number", [b"1e999", b"Infinity", b"NaN", b"-1e999", b"9" * 400, b"9" * 5000, b"true"]
)
async def test_an_end_that_is_no_time_is_refused(number: bytes) -> None:
    error = await refusal(with_secret(), forged(HS256, b'{"sub":"t","exp":' + number + b"}"))
    assert error.code in ("token_invalid", "token_expired")


@pytest.mark.parametrize("sub", ["a", "é" * 128, "a b", "<user>:*", "../../etc"])
async def test_any_printable_user_id_up_to_256_bytes_will_do(sub: str) -> None:
    assert (await with_secret().authenticate(token(sub))).user_id == sub


async def test_leeway_is_given_to_clocks() -> None:
    lenient = Authenticator(AuthSettings(hs256_secret=SecretStr(SECRET), leeway_s=30))
    assert await lenient.authenticate(token(lasts_s=-10, nbf=time.time() + 10))
    assert (await refusal(lenient, token(lasts_s=-40))).code == "token_expired"


@pytest.mark.parametrize(
    ("claims", "ok"),
    [
        ({"iss": "https://idp.test", "aud": "doorstep"}, True),
        ({"iss": "https://idp.test", "aud": ["x", "doorstep"]}, True),
        ({"iss": "https://idp.test"}, False),
        ({"aud": "doorstep"}, False),
        ({"iss": "https://idp.tes", "aud": "doorstep"}, False),
        ({"iss": "https://idp.test/", "aud": "doorstep"}, False),
        ({"iss": ["https://idp.test"], "aud": "doorstep"}, False),
        ({"iss": "https://idp.test", "aud": "doorste"}, False),
        ({"iss": "https://idp.test", "aud": []}, False),
        ({"iss": "https://idp.test", "aud": {"doorstep": 1}}, False),
    ],
)
async def test_issuer_and_audience_are_checked_where_configured(claims: dict[str, Any], ok: bool) -> None:
    strict = with_secret(issuer="https://idp.test", audience="doorstep")
    text = forged(HS256, good_claims(**claims))
    if ok:
        assert await strict.authenticate(text)
    else:
        assert (await refusal(strict, text)).code == "token_invalid"


async def test_issuer_and_audience_do_not_matter_where_not_configured() -> None:
    assert await with_secret().authenticate(token(iss="anyone", aud="anything"))


_NAMES = st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "jti", "crit", "other"])
_VALUES: st.SearchStrategy[object] = st.one_of(
    st.sampled_from(
        [None, True, "", "teacher-1", "doorstep", ["doorstep"], ["doorstep", 7], {}, "4000000000"]
    ),
    st.integers(-10, 10).map(lambda seconds: time.time() + seconds + 0.5),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(),
)


@settings(max_examples=500)
@given(
    st.dictionaries(_NAMES, _VALUES, max_size=3),
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64"]), _VALUES, max_size=1),
    st.sampled_from([None, "", "doorstep"]),
    st.sampled_from([None, "", "doorstep"]),
    st.sampled_from(["", "=", "A", " ", "."]),
)
def test_what_is_accepted_without_pyjwt_is_what_pyjwt_accepts(
    claims: dict[str, Any], header: dict[str, Any], issuer: str | None, audience: str | None, tail: str
) -> None:
    text = forged(HS256 | header, good_claims(**claims)) + tail
    recognizing = SharedSecret(SECRET.encode(), AuthSettings(issuer=issuer, audience=audience, leeway_s=2))
    payload = recognizing.payload_of(text, time.time())
    if payload is not None:
        assert payload == jwt.decode(
            text,
            SECRET,
            algorithms=["HS256"],
            issuer=issuer,
            audience=audience,
            leeway=2,
            options={"require": ["exp", "sub"], "verify_aud": audience is not None},
        )


@pytest.mark.parametrize(
    ("claims", "issuer", "audience"),
    [
        ({}, None, None),
        ({"iat": 1.5, "nbf": 1, "jti": "x", "role": ["a"]}, None, None),
        ({"iss": "https://idp.test", "aud": "doorstep"}, "https://idp.test", "doorstep"),
    ],
)
def test_the_usual_token_needs_no_pyjwt(
    claims: dict[str, Any], issuer: str | None, audience: str | None
) -> None:
    recognizing = SharedSecret(SECRET.encode(), AuthSettings(issuer=issuer, audience=audience))
    assert recognizing.payload_of(token(**claims), time.time())


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    shared = {
        "kty": "oct",
        "kid": "shared",
        "alg": "HS256",
        "k": base64.urlsafe_b64encode(b"k" * 32).decode(),
    }
    with IdentityProvider(RSA.jwk(), shared) as running:
        yield running


def with_keys(provider: IdentityProvider, **more: Any) -> Authenticator:
    return Authenticator(AuthSettings(jwks_url=provider.url, leeway_s=0, **more))


async def test_a_token_of_the_identity_provider_is_valid(provider: IdentityProvider) -> None:
    assert (await with_keys(provider).authenticate(RSA.sign())).user_id == "teacher-1"


async def test_both_ways_can_be_configured_at_once(provider: IdentityProvider) -> None:
    both = with_keys(provider, hs256_secret=SecretStr(SECRET))
    assert await both.authenticate(RSA.sign())
    assert await both.authenticate(token())


async def test_a_public_key_is_no_shared_secret(provider: IdentityProvider) -> None:
    """The confusion of HS and RS: a token signed by HMAC with the public key, which everybody has."""
    pem = RSA.public_pem()
    der_like = json.dumps(RSA.jwk()).encode()
    for authenticator in (with_keys(provider), with_keys(provider, hs256_secret=SecretStr(SECRET))):
        for secret in (pem, pem.strip(), der_like):
            for algorithm in ("HS256", "HS384", "RS256"):
                text = forged({"alg": algorithm, "kid": "rsa-1"}, good_claims(), secret)
                assert (await refusal(authenticator, text)).code == "token_invalid"


async def test_a_shared_secret_in_the_key_set_is_ignored(provider: IdentityProvider) -> None:
    text = forged({"alg": "HS256", "kid": "shared"}, good_claims(), b"k" * 32)
    assert (await refusal(with_keys(provider), text)).code == "token_invalid"


@pytest.mark.parametrize("algorithm", ["RS384", "PS256", "RS512"])
async def test_a_key_is_good_for_its_own_algorithm_only(provider: IdentityProvider, algorithm: str) -> None:
    text = jwt.encode(good_claims(), RSA.private, algorithm, headers={"kid": "rsa-1"})
    assert (await refusal(with_keys(provider), text)).code == "token_invalid"


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_key_that_is_too_short_is_not_trusted() -> None:
    short = SigningKey("short", rsa_bits=1024)
    with IdentityProvider(short.jwk()) as provider:
        assert (await refusal(with_keys(provider), short.sign())).code == "token_invalid"


@pytest.mark.parametrize("parameter", ["jku", "x5u"])
async def test_keys_that_a_token_points_to_are_not_fetched(
    provider: IdentityProvider, parameter: str
) -> None:
    theirs = SigningKey("rsa-1")
    with IdentityProvider(theirs.jwk()) as evil:
        text = theirs.sign(None, **{parameter: evil.url})
        assert (await refusal(with_keys(provider), text)).code == "token_invalid"
        assert evil.fetches == 0


@pytest.mark.parametrize("parameter", ["jwk", "x5c"])
async def test_a_key_that_a_token_brings_is_not_used(provider: IdentityProvider, parameter: str) -> None:
    theirs = SigningKey("rsa-1")
    value: object = theirs.jwk() if parameter == "jwk" else [base64.b64encode(theirs.public_pem()).decode()]
    assert (
        await refusal(with_keys(provider), theirs.sign(None, **{parameter: value}))
    ).code == "token_invalid"
    own = forged({"alg": "HS256", parameter: {"kty": "oct", "k": "AAAA"}}, good_claims(), b"\0" * 3)
    assert (await refusal(with_secret(), own)).code == "token_invalid"


@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "/dev/null", "' OR 1=1 --", "| true", "http://evil.test/key", "shared\0", ""],
)
async def test_a_key_id_is_only_ever_compared(provider: IdentityProvider, kid: str) -> None:
    for secret in (b"", b"\0"):
        for algorithm in ("HS256", "RS256"):
            text = forged({"alg": algorithm, "kid": kid}, good_claims(), secret)
            assert (await refusal(with_keys(provider), text)).code == "token_invalid"


@pytest.mark.parametrize("kid", [7, ["rsa-1"], {"a": 1}, True])
async def test_a_key_id_that_is_no_text_is_refused(provider: IdentityProvider, kid: object) -> None:
    text = forged({"alg": "RS256", "kid": kid}, good_claims())
    assert (await refusal(with_keys(provider), text)).code == "token_invalid"


async def test_without_the_providers_keys_it_is_not_the_clients_fault() -> None:
    unreachable = Authenticator(AuthSettings(jwks_url="http://127.0.0.1:9/keys"))
    assert (await refusal(unreachable, RSA.sign())).code == "auth_unavailable"


async def test_what_can_not_be_judged_now_is_not_the_clients_fault(provider: IdentityProvider) -> None:
    """An unknown key id is looked up, once in 30 s; what comes meanwhile may be good."""
    authenticator = with_keys(provider)
    stranger = SigningKey("stranger")
    assert (await refusal(authenticator, stranger.sign())).code == "token_invalid"
    assert (await refusal(authenticator, stranger.sign())).code == "auth_unavailable"
    assert (await refusal(authenticator, RSA.sign({"exp": time.time() - 1}))).code == "token_expired"
    assert (await refusal(authenticator, RSA.sign({"iat": time.time() + 20}))).code == "token_invalid"
    assert await authenticator.authenticate(RSA.sign())


async def test_a_provider_that_fails_is_not_the_clients_fault() -> None:
    with IdentityProvider(RSA.jwk()) as provider:
        authenticator = with_keys(provider)
        assert await authenticator.authenticate(RSA.sign())
        provider.status = 500
        assert (await refusal(authenticator, SigningKey("new").sign())).code == "auth_unavailable"
        assert await authenticator.authenticate(RSA.sign())


async def test_tokens_without_a_key_id_are_tried_with_each_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "FETCH_INTERVAL_S", 0)
    other = SigningKey("other")
    with IdentityProvider(RSA.jwk(kid=None), other.jwk(kid=None)) as provider:
        authenticator = with_keys(provider)
        for key in (RSA, other):
            assert await authenticator.authenticate(key.sign(None, kid=None))
            assert await authenticator.authenticate(key.sign())
        assert (await refusal(authenticator, SigningKey("x").sign())).code == "token_invalid"


async def test_a_rotated_key_without_an_id_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "FETCH_INTERVAL_S", 0)
    newer = SigningKey("newer")
    with IdentityProvider(RSA.jwk(kid=None)) as provider:
        authenticator = with_keys(provider)
        assert await authenticator.authenticate(RSA.sign(None, kid=None))
        provider.keys = [newer.jwk(kid=None)]
        assert await authenticator.authenticate(newer.sign(None, kid=None))
        assert (await refusal(authenticator, RSA.sign(None, kid=None))).code == "token_invalid"


async def test_one_key_id_may_change_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "FETCH_INTERVAL_S", 0)
    curve = SigningKey("rsa-1", "ES256")
    with IdentityProvider(RSA.jwk()) as provider:
        authenticator = with_keys(provider)
        assert await authenticator.authenticate(RSA.sign())
        provider.keys = [curve.jwk()]
        assert await authenticator.authenticate(curve.sign())


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
async def test_a_token_may_name_ed25519_either_way(alg: str) -> None:
    key = SigningKey("ed", "EdDSA")
    with IdentityProvider(key.jwk(alg="Ed25519")) as provider:
        header = base64.urlsafe_b64encode(json.dumps({"alg": alg, "kid": "ed"}).encode()).rstrip(b"=")
        signed = header + b"." + key.sign().split(".")[1].encode()
        assert isinstance(key.private, ed25519.Ed25519PrivateKey)
        signature = base64.urlsafe_b64encode(key.private.sign(signed)).rstrip(b"=")
        assert await with_keys(provider).authenticate((signed + b"." + signature).decode())


@pytest.mark.parametrize(
    ("auth", "hint"),
    [
        (AuthSettings(), "DOORSTEP_AUTH__HS256_SECRETS_FILE or DOORSTEP_AUTH__JWKS_URL"),
        (AuthSettings(hs256_secret=SecretStr("s3cret")), "has 6 bytes; HS256 needs at least 32"),
        (AuthSettings(hs256_secret=SecretStr("")), "has 0 bytes"),
        (AuthSettings(hs256_secret=SecretStr(RSA.public_pem().decode())), "is no secret"),
        (AuthSettings(hs256_secret=SecretStr(json.dumps(RSA.jwk()))), "is no secret"),
        (AuthSettings(jwks_url="file:///etc/passwd"), "DOORSTEP_AUTH__JWKS_URL"),
    ],
)
def test_an_unsafe_setup_does_not_start(auth: AuthSettings, hint: str) -> None:
    with pytest.raises(AuthSetupError, match=hint) as caught:
        Authenticator(auth)
    assert "s3cret" not in str(caught.value)


@settings(max_examples=200)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.binary(max_size=40), max_size=4).map(
            lambda parts: ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        ),
    )
)
async def test_any_text_is_refused_properly(text: str) -> None:
    error = await refusal(with_secret(), text)
    assert str(error) in (
        "the token is malformed",
        "the token's algorithm is not accepted",
        "the token is not valid",
    )


async def test_no_error_repeats_the_token() -> None:
    for text in (token(lasts_s=-5), token()[:-3], forged({"alg": "none"}, good_claims()), token(user_id="")):
        error = await refusal(with_secret(), text)
        for part in text.split("."):
            assert part not in str(error)
            assert part not in repr(error)


@pytest.mark.parametrize(
    ("headers", "target", "expected"),
    [
        (["Authorization: Bearer abc"], "/", "abc"),
        (["Authorization: bearer   abc "], "/", "abc"),
        (["Authorization: Basic abc"], "/?token=q", "q"),
        (["Authorization: Basic abc"], "/", None),
        (["Authorization: Basic abc", "Sec-WebSocket-Protocol: doorstep.v1, bearer.a.b.c"], "/", "a.b.c"),
        (["Authorization: Bearer h", "Sec-WebSocket-Protocol: doorstep.v1, bearer.p"], "/?token=q", "h"),
        (["Authorization:"], "/?token=q", "q"),
        (["Authorization: Bearer"], "/?token=q", ""),
        (["Sec-WebSocket-Protocol: doorstep.v1, bearer.a.b.c"], "/?token=q", "a.b.c"),
        (["Sec-WebSocket-Protocol: doorstep.v1", "Sec-WebSocket-Protocol: bearer.a"], "/", "a"),
        (["Sec-WebSocket-Protocol: doorstep.v1"], "/?token=q", "q"),
        ([], "/?token=q%2Eb", "q.b"),
        ([], "/?cursor=1", None),
    ],
)
def test_where_a_token_is_looked_for(headers: list[str], target: str, expected: str | None) -> None:
    head = parse_head(request(target, *headers))
    assert head is not None
    assert bearer_of(head, allow_query=True) == expected


def test_a_token_in_the_query_counts_only_where_that_is_allowed() -> None:
    head = parse_head(request("/?token=q"))
    assert head is not None
    assert bearer_of(head, allow_query=False) is None
