"""What a terminal shows of this device's sign-in to a backend: address, code and QR, and where the sign-in is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integ_cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from integ_runtime.device_login import SignedInDevice
    from integ_runtime.runtime import Runtime


async def sign_device_in(out: Output, runtime: Runtime, open_page: Callable[[str], bool]) -> SignedInDevice:
    """Show the code, open its page where there is a desktop, and wait for the player's yes."""
    from integ_cli.qr import QrBoard

    login = runtime.device
    code = await login.begin()
    board = QrBoard(out)
    if open_page(code.verification_uri_complete):
        way = "Opened in your browser. From another device, open"
    elif board.has_room_for(code.verification_uri_complete):
        way = "Scan this with a phone, or open in any browser"
    else:
        way = "In any browser, open"
    board.show(
        code.verification_uri_complete,
        way,
        f"  {code.verification_uri}",
        "and type the code",
        f"  {code.user_code}",
        f"It is good for {code.expires_in // 60} minutes. Confirm it only if you began this yourself.",
    )
    signed_in = await login.finish(code)
    if signed_in.place == "memory":
        out.warn(
            "there is neither a keyring nor a folder in memory ($XDG_RUNTIME_DIR), and a sign-in is never written to a disk: "
            "this one ends with this command. A personal token in INTEG_TOKEN lasts: integ token create"
        )
    return signed_in
