"""Access tokens: short-lived JWTs, signed with Ed25519 keys that are derived from INTEG_SECRET_KEY, newest key first."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from integ_server.contract.errors import NotSignedInError
from integ_server.contract.scopes import Scope
from integ_server.settings import ServerSettings, split_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ACCESS_LIVES_S = 1800
AUDIENCE = "integ-api"
_ALGORITHMS = ["EdDSA"]
_REQUIRED = ["iss", "aud", "sub", "sid", "jti", "exp", "iat"]
_MOST_REMEMBERED = 4096
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says."""

    user_id: str
    session_id: str
    token_id: str
    scopes: frozenset[str]
    expires_at: float
    """Seconds since 1970."""


class Signer:
    """
    Signs and checks access tokens. The keys are made when they are needed first: an embedded backend never does.

    Every key of INTEG_SECRET_KEY checks, so that a new one may be put in front while tokens of the old one are still in use.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._secret_key = settings.secret_key
        self._issuer = settings.public_url.rstrip("/") or "integ"
        self._checked: OrderedDict[bytes, Claims] = OrderedDict()

    @cached_property
    def _keys(self) -> dict[str, Ed25519PrivateKey]:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        found: dict[str, Ed25519PrivateKey] = {}
        for _, secret in split_keys(self._secret_key):
            key = Ed25519PrivateKey.from_private_bytes(HKDF(SHA256(), 32, salt=None, info=b"integ/jwt/1").derive(secret.encode()))
            public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            # Made from the public key and not from the setting's name for it: a name that is given to another secret is no mix-up here.
            found.setdefault(hashlib.sha256(b"integ/jwt-key-id/1" + public).hexdigest()[:16], key)
        return found

    @cached_property
    def _public_keys(self) -> dict[str, Ed25519PublicKey]:
        return {key_id: key.public_key() for key_id, key in self._keys.items()}

    def sign(self, user_id: str, session_id: str, scopes: Collection[Scope]) -> str:
        """A token that is good for `ACCESS_LIVES_S`, as long as the cache says that its session goes on."""
        import jwt

        key_id, key = next(iter(self._keys.items()))
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": session_id,
            "jti": uuid.uuid4().hex,
            "iat": now,
            "exp": now + ACCESS_LIVES_S,
            "scope": " ".join(sorted(scopes)),
        }
        return jwt.encode(claims, key, algorithm=_ALGORITHMS[0], headers={"kid": key_id, "typ": "at+jwt"})

    def check(self, token: str) -> Claims:
        """
        What *token* says, its signature checked; whether its session goes on is not looked at.

        A token that was good stays so until its end, so that the checked ones are remembered, by their hashes.

        Raises:
            NotSignedInError: It is none of ours, or over.
        """
        if len(token) > _LONGEST:
            raise _refused()
        mark = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._checked.get(mark)
        if known is None:
            known = self._verified(token)
            self._checked[mark] = known
            if len(self._checked) > _MOST_REMEMBERED:
                self._checked.popitem(last=False)
        if known.expires_at <= time.time():
            self._checked.pop(mark, None)
            raise _refused()
        return known

    def public_keys(self) -> list[dict[str, Any]]:
        """The keys that check, newest first, as RFC 8037 writes them."""
        from jwt.algorithms import OKPAlgorithm

        return [
            {**OKPAlgorithm.to_jwk(key, as_dict=True), "kid": key_id, "use": "sig", "alg": _ALGORITHMS[0]}
            for key_id, key in self._public_keys.items()
        ]

    def _verified(self, token: str) -> Claims:
        import jwt

        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            key = self._public_keys.get(key_id) if isinstance(key_id, str) else None
            if key is None:
                raise _refused()
            said = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=AUDIENCE,
                issuer=self._issuer,
                options={"require": _REQUIRED, "strict_aud": True},
            )
            if not isinstance(said["sid"], str) or not isinstance(said.get("scope", ""), str):
                raise _refused()
            return Claims(said["sub"], said["sid"], said["jti"], frozenset(said.get("scope", "").split()), float(said["exp"]))
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _refused() from error


def _refused() -> NotSignedInError:
    """One answer for everything that may be wrong with a token: which it is helps nobody but a forger."""
    return NotSignedInError("the sign-in to this backend is over, or none")
