from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.auth.crypto import Vault
from integ_server.contract.errors import AuthenticationError

OLD, NEW = "old:" + "o" * 32, "new:" + "n" * 32


@given(st.text(), st.text(max_size=40))
def test_what_is_sealed_opens_again_and_shows_nothing(text: str, about: str) -> None:
    vault = Vault(NEW)
    encodable = text.encode(errors="ignore").decode()
    sealed = vault.seal(encodable, about.encode(errors="ignore").decode())
    assert vault.open(sealed, about.encode(errors="ignore").decode()) == encodable
    assert vault.seal(encodable, "x") != vault.seal(encodable, "x")


def test_the_newest_key_seals_and_older_ones_still_open() -> None:
    sealed = Vault(OLD).seal("token", "a")
    both = Vault(f"{NEW},{OLD}")
    assert both.open(sealed, "a") == "token"
    assert both.seal("token", "a").startswith("v1.new.")
    with pytest.raises(AuthenticationError, match="keys in use"):
        Vault(NEW).open(sealed, "a")


def test_a_bare_secret_gets_an_id_of_its_own_that_does_not_give_it_away() -> None:
    secret = "correct horse battery staple"
    sealed = Vault(secret).seal("token", "a")
    assert Vault(f"{NEW}, {secret}").open(sealed, "a") == "token"
    assert secret[:8] not in sealed


def test_a_sealed_text_moved_to_another_row_or_altered_anywhere_does_not_open() -> None:
    vault = Vault(NEW)
    sealed = vault.seal("token", "accounts.secret/steam:1")
    with pytest.raises(AuthenticationError):
        vault.open(sealed, "accounts.secret/steam:2")
    for at in range(len(sealed)):
        other = "A" if sealed[at] != "A" else "B"
        if at == len(sealed) - 1 or sealed[at + 1 :].strip("=") == "":  # the last letter may hold bits that count for nothing
            continue
        with pytest.raises(AuthenticationError):
            vault.open(sealed[:at] + other + sealed[at + 1 :], "accounts.secret/steam:1")


@pytest.mark.parametrize("odd", ["", "v1", "v1.new", "v1.new.", "v1.new.!!!", "v1.new.AAAA", "v2.new.AAAA", "v1..", "é.new.x", "v1.new.é"])
def test_nonsense_does_not_open(odd: str) -> None:
    with pytest.raises(AuthenticationError):
        Vault(NEW).open(odd, "a")
