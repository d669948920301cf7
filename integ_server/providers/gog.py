"""GOG: a pasted code to sign in, three lists for the library, GamesDB for metadata, the content system for downloads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import urlencode

import httpx

from integ_server.contract.achievements import Achievement
from integ_server.contract.errors import AuthenticationError, GameNotFoundError, IntegError, ProviderError
from integ_server.contract.types import DownloadPlan, DownloadRequest, SignInAnswer, SignInWay
from integ_server.providers import _gog_library
from integ_server.providers._gog_achievements import read_achievements
from integ_server.providers._gog_metadata import BATCH, GogMetadata
from integ_server.providers._gog_models import PRODUCT_ID, Token, TokenError, UserData
from integ_server.providers._gog_plan import plan_download
from integ_server.providers._http import ask, error_for
from integ_server.providers._pasted import HINT as CODE_HINT
from integ_server.providers._pasted import code_from
from integ_server.providers.base import Credentials, GameMetadata, OwnedGame, ProviderConfig, SignedInAccount, StoreProfile

AUTH = "https://auth.gog.com"
LANDING = "https://embed.gog.com/on_login_success?origin=client"
PUBLIC_CLIENT = "46899977096215655"
PUBLIC_SECRET = "9d85c43b1482497dbbce61f6e4aa173a433796eeae2ca8c5f6129f2dc4de46d9"  # noqa: S105
"""The pair of GOG's own client, which every open client uses: GOG registers nobody else, and it keeps nothing secret."""
_AGAIN = "sign in again: integ login gog"


class Gog:
    """GOG as a store."""

    slug: ClassVar[str] = "gog"
    title: ClassVar[str] = "GOG"
    ways: ClassVar[tuple[SignInWay, ...]] = (SignInWay.CODE,)
    metadata_batch: ClassVar[int] = BATCH

    def __init__(self, http: httpx.AsyncClient, config: ProviderConfig | None = None) -> None:
        config = config or ProviderConfig()
        own = bool(config.gog_client_id and config.gog_client_secret)
        self._http = http
        self._client = (config.gog_client_id, config.gog_client_secret) if own else (PUBLIC_CLIENT, PUBLIC_SECRET)

    def sign_in_address(self, way: SignInWay, return_to: str, state: str) -> str:
        """The page where the player signs in. It always ends on GOG's own landing page, whose address is to be pasted."""
        del way, return_to, state
        query = {"client_id": self._client[0], "redirect_uri": LANDING, "response_type": "code", "layout": "galaxy"}
        return f"{AUTH}/auth?{urlencode(query)}"

    async def sign_in(self, answer: SignInAnswer, *, return_to: str) -> SignedInAccount:
        """
        Exchange the pasted code; it counts once and for about a minute.

        Raises:
            AuthenticationError: There is no code in what was pasted, or GOG does not take it.
            ProviderUnavailableError: GOG did not answer.
        """
        del return_to
        code = code_from(answer.code)
        token = await self._token({"grant_type": "authorization_code", "code": code, "redirect_uri": LANDING})
        if isinstance(token, TokenError):
            raise AuthenticationError("GOG does not take that code: it is wrong, used, or older than a minute", hint=CODE_HINT)
        if not token.refresh_token:
            raise ProviderError("GOG signed in without anything that lasts", hint=_AGAIN)
        login = _credentials(token)
        try:
            shown = await self.profile(login)
        except IntegError:  # the code is spent, and the sign-in stands without a name
            shown = None
        return SignedInAccount(login, shown.display_name, shown.avatar_url) if shown else SignedInAccount(login, login.account)

    def runs_out(self, login: Credentials) -> bool:
        """Every sign-in at GOG does, after an hour."""
        del login
        return True

    async def renew(self, login: Credentials) -> Credentials:
        """
        A fresh access token, and the refresh token to keep, which may be another one. One renewal of an account at a time, please.

        Raises:
            AuthenticationError: GOG says that the sign-in is over (`invalid_grant`); nothing else means that.
        """
        grant = {"grant_type": "refresh_token", "refresh_token": login.secret, "without_new_session": "1"}
        token = await self._token(grant)
        if isinstance(token, TokenError):
            raise AuthenticationError("GOG ended the sign-in", hint=_AGAIN)
        if token.user_id != login.account:
            raise ProviderError("GOG renewed the sign-in of another account", hint=_AGAIN)
        renewed = _credentials(token)
        return renewed if token.refresh_token else replace(renewed, secret=login.secret)

    async def profile(self, login: Credentials) -> StoreProfile | None:
        """
        How GOG shows the account today; None when it says that nobody is signed in.

        Raises:
            AuthenticationError: GOG wants a fresh access token.
            ProviderError: GOG answered oddly, is down, or asks for a pause.
        """
        answer = await ask(self._http, self.title, f"{_gog_library.EMBED}/userData.json", bearer=login.access_token)
        who = _gog_library.account_answer(answer, UserData)
        if not who.isLoggedIn or not who.username:
            return None
        # the address has no ending: a size is to be chosen
        return StoreProfile(who.username, f"{who.avatar}_avm.jpg" if who.avatar else "")

    async def owned_games(self, login: Credentials) -> AsyncIterator[OwnedGame]:
        """
        Yield everything the account owns, DLC and extras included; types, and titles of what the account page does not list, come with the
        metadata. Play time is not among it: GOG tells it for one game a call.

        Raises:
            AuthenticationError: GOG wants a fresh access token.
            ProviderError: A list is not whole.
            ProviderUnavailableError: GOG is down or asks for a pause.
        """
        for game in await _gog_library.owned_games(self._http, login):
            yield game

    async def metadata(self, ids: Sequence[str]) -> list[GameMetadata]:
        """One answer for each of *ids* that could be asked; they say which releases at other stores are the same game."""
        found: list[GameMetadata] = []
        reader = GogMetadata(self._http)
        for at in range(0, len(ids), BATCH):
            found.extend(await reader.read(ids[at : at + BATCH]))
        return found

    async def achievements(self, login: Credentials, game_id: str) -> list[Achievement]:
        """
        All achievements of a game and which of them the account has.

        Raises:
            AuthenticationError: GOG wants a fresh access token.
            ProviderError: GOG answered oddly, is down, or asks for a pause.
        """
        if not PRODUCT_ID.match(game_id):
            raise GameNotFoundError("that is no GOG product id")
        return await read_achievements(self._http, login, game_id)

    async def download_plan(self, login: Credentials, game_id: str, wanted: DownloadRequest) -> DownloadPlan:
        """
        What to fetch: the Linux installer where there is one, else a Windows build.

        Raises:
            AuthenticationError: GOG wants a fresh access token.
            PermissionDeniedError: The account does not own it.
            NotFoundError: There is no such game, build, branch, DLC or installer.
        """
        if not PRODUCT_ID.match(game_id):
            raise GameNotFoundError("that is no GOG product id")
        return await plan_download(self._http, login, game_id, wanted)

    async def _token(self, grant: dict[str, str]) -> Token | TokenError:
        """The answer to *grant*; a `TokenError` is `invalid_grant` and no other."""
        client_id, client_secret = self._client
        params: dict[str, str | int] = {"client_id": client_id, "client_secret": client_secret, **grant}
        # not tried again once it was sent: a code counts once, and a refresh token may
        answer = await ask(self._http, self.title, f"{AUTH}/token", params=params, retries="unsent", time_limit_s=60)
        if answer.status == 200:
            return answer.model(Token)
        refusal = answer.find_model(TokenError)
        if answer.status in {400, 401} and refusal is not None:
            if refusal.error == "invalid_grant":
                return refusal
            if refusal.error == "invalid_client":
                raise ProviderError(
                    "GOG does not know this client", hint="check INTEG_GOG_CLIENT_ID and INTEG_GOG_CLIENT_SECRET, or unset them"
                )
        error = error_for(answer)
        if isinstance(error, ProviderError):
            raise error
        raise ProviderError(f"GOG answered {answer.status} to a sign-in")  # a 401 or 403 of some proxy does not end it


def _credentials(token: Token) -> Credentials:
    until = datetime.now(UTC) + timedelta(seconds=min(token.expires_in, 86_400))
    return Credentials(token.user_id, token.refresh_token, token.access_token, until)


PROVIDER = Gog
