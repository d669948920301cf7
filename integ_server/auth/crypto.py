"""Secrets at rest: AES-256-GCM under keys derived from INTEG_SECRET_KEY, newest key first."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from integ_server.contract.errors import AuthenticationError
from integ_server.settings import split_keys

_NONCE_BYTES = 12


class Vault:
    """
    Seals short texts for the database. A sealed text is `v1.KEYID.BASE64(nonce + ciphertext)`.

    *about* says whose text it is (table, column and account); it is authenticated with it, so that a sealed text that is moved
    to another row does not open there.
    """

    def __init__(self, secret_key: str) -> None:
        self._keys: dict[str, AESGCM] = {}
        for key_id, secret in split_keys(secret_key):
            key = HKDF(SHA256(), 32, salt=None, info=b"integ/encryption/1").derive(secret.encode())
            self._keys.setdefault(key_id or hashlib.sha256(b"integ/key-id/1" + key).hexdigest()[:12], AESGCM(key))
        self._newest = next(iter(self._keys))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Of the keys that open, newest first."""
        return tuple(self._keys)

    @property
    def newest_mark(self) -> str:
        """What every text begins with that the newest key sealed."""
        return f"v1.{self._newest}."

    def seal(self, text: str, about: str) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self._newest].encrypt(nonce, text.encode(), about.encode())
        return f"v1.{self._newest}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, about: str) -> str:
        """
        The text that `seal()` was given.

        Raises:
            AuthenticationError: The key is gone, or the text was altered; only a new sign-in mends that.
        """
        version, _, rest = sealed.partition(".")
        key_id, _, encoded = rest.partition(".")
        try:
            raw = base64.b64decode(encoded, altchars=b"-_", validate=True)
            if version != "v1":
                raise KeyError(version)
            return self._keys[key_id].decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], about.encode()).decode()
        except (KeyError, ValueError, InvalidTag, binascii.Error):
            raise AuthenticationError("a stored sign-in can't be read with the keys in use", hint="integ login") from None
