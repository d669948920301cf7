"""What to fetch of a game at GOG: its Linux installer where there is one, else a Windows build."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from integ_server.contract.errors import NotFoundError, PermissionDeniedError, UsageError
from integ_server.contract.types import DownloadPlan, DownloadRequest, InstallerFile
from integ_server.providers._gog_builds import GogBuilds
from integ_server.providers._gog_installer import installer_file, linux_installer
from integ_server.providers._gog_languages import language_code
from integ_server.providers._gog_library import owned_ids
from integ_server.providers._gog_metadata import API, STORE
from integ_server.providers._gog_models import Card, Installer
from integ_server.providers._http import ask
from integ_server.providers.base import Credentials


@dataclass(frozen=True, slots=True)
class _Asked:
    http: httpx.AsyncClient
    login: Credentials
    wanted: DownloadRequest
    owned: set[str]


async def plan_download(http: httpx.AsyncClient, login: Credentials, game_id: str, wanted: DownloadRequest) -> DownloadPlan:
    """
    Native first, unless the request says otherwise; a branch or a build only Windows has.

    Raises:
        AuthenticationError: GOG wants a fresh access token.
        PermissionDeniedError: The account does not own it.
        NotFoundError: There is no such game, build, branch, DLC or installer.
        UsageError: The request contradicts itself, or asks for a build in a format that is too old.
    """
    if wanted.platform == "linux" and wanted.branch:
        raise UsageError("Linux installers have no branches", hint="add --platform windows")
    owned = await owned_ids(http, login)
    installer = None
    card = None
    if wanted.platform != "windows" and not wanted.branch:
        card = await _card(http, login, game_id)
        if card is not None and card.game_type == "dlc":
            raise UsageError("that is a DLC", hint="install its game: a DLC comes with it")
        installer = linux_installer(card, wanted.language) if card else None
    if installer is not None and card is not None and _is_meant(installer, wanted):
        if game_id not in owned:
            raise PermissionDeniedError("this account does not own that game")
        return await _linux_plan(_Asked(http, login, wanted, owned), card, installer)
    if wanted.platform == "linux":
        what = (
            f"GOG has no Linux installer {wanted.build} of this game"
            if installer and wanted.build
            else "GOG has no Linux installer of this game"
        )
        raise NotFoundError(what, hint="add --platform windows")
    plan = await GogBuilds(http, login).plan(game_id, wanted, owned)
    return plan if plan.title or card is None else plan.model_copy(update={"title": card.title})


def _is_meant(installer: Installer, wanted: DownloadRequest) -> bool:
    return not wanted.build or wanted.build == installer.version


async def _linux_plan(asked: _Asked, card: Card, installer: Installer) -> DownloadPlan:
    wanted, owned = asked.wanted, asked.owned
    file = await installer_file(asked.http, asked.login, installer)
    there = [link.id for link in card.dlcs.products]
    if isinstance(wanted.dlc, list):
        for each in wanted.dlc:
            if each not in there:
                raise NotFoundError(f"this game has no DLC {each}", hint=f"it has: {', '.join(there[:12]) or 'none'}")
            if each not in owned:
                raise PermissionDeniedError(f"this account does not own the DLC {each}")
    dlc = [each for each in there if each in owned and wanted.dlc != "none" and (wanted.dlc == "all" or each in wanted.dlc)]
    extras = [(each, await _dlc_file(asked, each)) for each in dlc]
    files = [(each, *extra) for each, extra in extras if extra is not None]
    whole = (file.size_bytes or installer.total_size) + sum(extra.size_bytes or about for _, extra, about in files)
    return DownloadPlan(
        key=f"gog:{card.id}",
        title=card.title,
        kind="linux_installer",
        build=installer.version,
        version=installer.version,
        platform="linux",
        language=language_code(installer.language),
        dlc=[each for each, _, _ in files],
        folder_name=card.title,
        download_bytes=whole,
        disk_bytes=whole,
        installer=file,
        dlc_installers=[extra for _, extra, _ in files],
    )


async def _dlc_file(asked: _Asked, product_id: str) -> tuple[InstallerFile, int] | None:
    """A DLC's own Linux installer and its rough size; many have none, since the game's holds them."""
    card = await _card(asked.http, asked.login, product_id)
    installer = linux_installer(card, asked.wanted.language) if card else None
    if installer is None:
        return None
    return await installer_file(asked.http, asked.login, installer), installer.total_size


async def _card(http: httpx.AsyncClient, login: Credentials, product_id: str) -> Card | None:
    """The product with its downloads; None when the store does not list it (any more)."""
    params: dict[str, str | int] = {"expand": "downloads", "locale": "en-US"}
    answer = await ask(http, STORE, f"{API}/products/{product_id}", params=params, bearer=login.access_token)
    return None if answer.status == 404 else answer.model(Card)
