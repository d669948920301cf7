"""What is taken for an access token, and what is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from integ_server.auth import jwt as access
from integ_server.auth.jwt import Signer
from integ_server.contract.errors import NotSignedInError
from integ_server.contract.scopes import ALL_SCOPES, Scope
from integ_server.settings import ServerSettings
from tests.server.conftest import KEY, OpenServed, Served

OLD, NEW = "old:" + "o" * 32, "new:" + "n" * 32


def signer(keys: str = KEY, public_url: str = "https://integ.example") -> Signer:
    return Signer(ServerSettings(database_url="sqlite+aiosqlite:////x", secret_key=keys, public_url=public_url))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    head, body, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    return json.loads(head), json.loads(body), signature


def packed(raw: bytes | dict[str, Any]) -> str:
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def own_key(of: Signer) -> Ed25519PrivateKey:
    return next(iter(of._keys.values()))


def resigned(of: Signer, head: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token signed by the backend's own key, with other claims than it would make; None takes one away."""
    known_head, body, _ = parts(of.sign("ann", "s1", ALL_SCOPES))
    body = {name: value for name, value in {**body, **claims}.items() if value is not None}
    signed = f"{packed({**known_head, **(head or {})})}.{packed(body)}"
    return f"{signed}.{packed(own_key(of).sign(signed.encode()))}"


def test_a_token_says_who_asks_and_the_newest_key_signs() -> None:
    both = signer(f"{NEW},{OLD}")
    claims = both.check(both.sign("ann", "s1", {Scope.SYNC, Scope.LIBRARY_READ}))
    assert (claims.user_id, claims.session_id, claims.scopes) == ("ann", "s1", {"sync", "library:read"})
    assert 0 < claims.expires_at - time.time() <= 1800
    assert signer(NEW).check(both.sign("ann", "s1", set())).user_id == "ann"
    assert both.check(signer(OLD).sign("ann", "s1", set())).user_id == "ann"
    with pytest.raises(NotSignedInError):
        signer(NEW).check(signer(OLD).sign("ann", "s1", set()))


def test_the_key_set_holds_what_anybody_needs_to_check_a_token_and_nothing_more() -> None:
    both = signer(f"{NEW},{OLD}")
    token = both.sign("ann", "s1", ALL_SCOPES)
    keys = both.public_keys()
    assert [set(each) for each in keys] == [{"kty", "crv", "x", "kid", "use", "alg"}] * 2
    found = next(each for each in keys if each["kid"] == jwt.get_unverified_header(token)["kid"])
    said = jwt.decode(token, jwt.PyJWK(found).key, algorithms=["EdDSA"], audience=access.AUDIENCE, issuer="https://integ.example")
    assert said["sub"] == "ann"


def test_the_keys_are_not_those_that_seal() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    sealing = HKDF(SHA256(), 32, salt=None, info=b"integ/encryption/1").derive(b"5f0c9a7be2d14836af907c1d3e8b6452")
    assert own_key(signer()).private_bytes_raw() != sealing


def test_a_token_without_a_signature_is_none() -> None:
    ours = signer()
    head, body, signature = parts(ours.sign("ann", "s1", ALL_SCOPES))
    for alg in ("none", "None", "NONE", "nOnE", ""):
        for end in ("", packed(signature)):
            with pytest.raises(NotSignedInError):
                ours.check(f"{packed({**head, 'alg': alg})}.{packed(body)}.{end}")


def test_the_public_key_is_no_shared_secret() -> None:
    """Key confusion: HS256, signed with what everybody can read at /.well-known/jwks.json, in every form one might try."""
    ours = signer()
    head, body, _ = parts(ours.sign("ann", "s1", ALL_SCOPES))
    public = own_key(ours).public_key()
    (told,) = ours.public_keys()
    secrets = [
        public.public_bytes(Encoding.Raw, PublicFormat.Raw),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        told["x"].encode(),
        json.dumps(told).encode(),
        b"",
    ]
    for secret in secrets:
        for alg, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
            signed = f"{packed({**head, 'alg': alg})}.{packed(body)}"
            with pytest.raises(NotSignedInError):
                ours.check(f"{signed}.{packed(hmac.new(secret, signed.encode(), digest).digest())}")


def test_a_key_that_the_token_brings_itself_counts_for_nothing() -> None:
    ours = signer()
    stranger = Ed25519PrivateKey.generate()
    head, body, _ = parts(ours.sign("ann", "s1", ALL_SCOPES))
    own = {"kty": "OKP", "crv": "Ed25519", "x": packed(stranger.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))}
    for more in ({}, {"jwk": own}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example"}, {"kid": "mine"}):
        signed = f"{packed({**head, **more})}.{packed(body)}"
        with pytest.raises(NotSignedInError):
            ours.check(f"{signed}.{packed(stranger.sign(signed.encode()))}")


@pytest.mark.parametrize("kid", ["", "unknown", None, 7, ["a"], {"a": 1}, "../../etc/passwd", "x' OR 1=1"])
def test_a_key_id_that_is_not_ours_is_refused(kid: object) -> None:
    ours = signer()
    with pytest.raises(NotSignedInError):
        ours.check(resigned(ours, {"kid": kid}))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another-api"},
        {"aud": ["integ-api", "another-api"]},
        {"iss": "https://evil.example"},
        {"iss": "https://integ.example/"},
        {"exp": 1_000_000_000},
        {"exp": "soon"},
        {"iat": 9_000_000_000},
        {"nbf": 9_000_000_000},
        {"sub": 7},
        {"sid": 7},
        {"scope": ["user"]},
        *({name: None} for name in ("iss", "aud", "sub", "sid", "jti", "exp", "iat")),
    ],
    ids=str,
)
def test_a_claim_that_is_wrong_or_missing_is_refused_though_the_signature_is_good(claims: dict[str, Any]) -> None:
    ours = signer()
    assert ours.check(resigned(ours)).user_id == "ann"
    with pytest.raises(NotSignedInError):
        ours.check(resigned(ours, **claims))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "\xff.\xff.\xff", "e30.e30.", "x" * 10_000, "\ud800", "null.null.null", "W10.W10.W10"]
)
def test_what_is_no_token_at_all_is_refused_and_no_bug(token: str) -> None:
    with pytest.raises(NotSignedInError):
        signer().check(token)


def test_a_token_that_was_changed_anywhere_is_refused_even_after_it_was_good() -> None:
    ours = signer()
    token = ours.sign("ann", "s1", {Scope.LIBRARY_READ})
    ours.check(token)
    head, body, signature = token.split(".")
    said = parts(token)[1]
    for changed in (
        f"{head}.{packed({**said, 'sub': 'eve'})}.{signature}",
        f"{head}.{packed({**said, 'scope': 'user'})}.{signature}",
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{body}.",
    ):
        with pytest.raises(NotSignedInError):
            ours.check(changed)


def test_a_good_token_ends_though_it_is_remembered_and_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_MOST_REMEMBERED", 10)
    ours = signer()
    token = ours.sign("ann", "s1", ALL_SCOPES)
    for _ in range(25):
        ours.check(ours.sign("ann", "s1", ALL_SCOPES))
    ours.check(token)
    assert len(ours._checked) <= 10
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + access.ACCESS_LIVES_S + 1)
    with pytest.raises(NotSignedInError):
        ours.check(token)


async def test_the_key_set_is_public_and_plain(open_served: OpenServed) -> None:
    served: Served = await open_served()
    answer = await (await served.http()).get("/.well-known/jwks.json")
    assert (answer.status_code, answer.json()) == (200, {"keys": served.backend.signer.public_keys()})


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "bearer a b", "Token x", "Bearer \t", "Bearer e30.e30."])
async def test_nobody_is_told_to_bring_a_token_and_nothing_else(open_served: OpenServed, header: str) -> None:
    served: Served = await open_served()
    http: httpx.AsyncClient = await served.http()
    answer = await http.get("/users/me", headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.json()["error"], answer.headers["www-authenticate"]) == (401, "NotSignedInError", "Bearer")
