"""This device's sign-in to a backend for many: a code that the player confirms in any browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integ_tui.screens.code import CodeScreen

if TYPE_CHECKING:
    from integ_tui.parts import DeviceLogin, SignedInDevice


class DeviceScreen(CodeScreen["SignedInDevice"]):
    """Gives who is signed in now, and where that is kept; or None."""

    heading = "Sign in this device"

    def __init__(self, login: DeviceLogin) -> None:
        super().__init__()
        self._login = login

    async def sign_in(self) -> SignedInDevice:
        code = await self._login.begin()
        page = code.verification_uri_complete
        how = "Scan it with a phone, or open in any browser:"
        care = "Confirm it only if the page shows this code."
        self.show_code(page, how=how, care=care, shown=code.verification_uri, user_code=code.user_code)
        opened = await self.integ.open_web(page)
        self.say(f"{'Opened in your browser; waiting' if opened else 'Waiting'} for your yes… good for {code.expires_in // 60} minutes.")
        return await self._login.finish(code)
