"""Signing in to a store by a code that its app on the player's phone scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integ_server.contract.sign_in import SignInPending
from integ_server.contract.types import ProviderInfo, SignedIn
from integ_tui.screens.code import CodeScreen
from integ_tui.wording import clean

if TYPE_CHECKING:
    from integ_tui.parts import Accounts


class PhoneScreen(CodeScreen[SignedIn]):
    """Gives the account that was signed in to, or None."""

    heading = "Sign in with your phone"

    def __init__(self, accounts: Accounts, store: ProviderInfo) -> None:
        super().__init__()
        self._accounts, self._store = accounts, store

    async def sign_in(self) -> SignedIn:
        app = f"the {clean(self._store.title)} app"

        def show(told: SignInPending) -> None:
            self.show_code(told.address, how=f"Scan it with {app} on your phone. It says:", care="No Web API key is needed this way.")
            is_scanned = told.stage == "scanned"
            self.say("Scanned. Now confirm it on your phone." if is_scanned else "Waiting for your phone… good for five minutes.")

        return await self._accounts.sign_in_by_qr(self._store.slug, show=show)
