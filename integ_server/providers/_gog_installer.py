"""Offline installers: which one, its signed address of the moment, and what its checksum file says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit
from xml.parsers import expat

import httpx

from integ_server.addresses import check_outside, host_of
from integ_server.contract.errors import IntegError, NotFoundError, PermissionDeniedError, ProviderError
from integ_server.contract.types import InstallerFile
from integ_server.providers._gog_languages import DEFAULT, choose_language, language_code
from integ_server.providers._gog_models import Card, GogModel, Installer, Text
from integ_server.providers._http import ask
from integ_server.providers.base import Credentials

STORE = "GOG"
_API_HOST = "api.gog.com"
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_MOST_XML_BYTES = 8 << 20


class Resolved(GogModel):
    downlink: str
    checksum: Text = ""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a checksum file says of the whole file."""

    md5: str | None
    size_bytes: int | None


def linux_installer(card: Card, language: str | None) -> Installer | None:
    """The Linux installer for *language*, else the English one (as a rule it holds them all), else any; None when there is none."""
    there = [each for each in card.downloads.installers if each.os == "linux" and any(file.downlink for file in each.files)]
    if not there:
        return None
    code = choose_language(language or DEFAULT, {language_code(each.language) for each in there})
    return next((each for each in there if language_code(each.language) == code), there[-1])


async def installer_file(http: httpx.AsyncClient, login: Credentials, installer: Installer) -> InstallerFile:
    """
    The one file of a Linux installer, with an address that is good for some hours.

    Raises:
        NotFoundError: GOG does not hand it to this account.
        ProviderError: An address in GOG's answers is not GOG's.
    """
    file = next(each for each in installer.files if each.downlink)
    if host_of(check_outside(file.downlink)) != _API_HOST:  # the access token goes along
        raise ProviderError("GOG names a download that is not at its own API")
    answer = await ask(http, STORE, file.downlink, bearer=login.access_token)
    if answer.status == 404:
        raise NotFoundError("GOG does not hand out this installer: it was replaced, or this account does not own it")
    if answer.status == 403:
        raise PermissionDeniedError("GOG says that this account does not own this installer")
    resolved = answer.model(Resolved)
    address = _secured(resolved.downlink)
    checksum = await _checksum(http, resolved.checksum)
    return InstallerFile(
        url=address,
        file_name=file_name_of(address),
        size_bytes=checksum.size_bytes,
        md5=checksum.md5,
    )


def file_name_of(address: str) -> str:
    """The file's name as its address has it, made harmless; `installer.sh` when nothing is left of it."""
    parts = urlsplit(address)
    inside = parse_qs(parts.query).get("path", [""])[0]
    last = unquote(inside or parts.path).replace("\\", "/").rpartition("/")[2].rstrip("?")
    clean = re.sub(r"[\x00-\x1f\x7f:*?\"<>|]", "", last).strip(". ")
    return clean[-200:] or "installer.sh"


def read_checksum(document: bytes) -> Checksum:
    """
    The first element's md5 and size; nothing of it when the file is empty, broken, or more than plain XML.

    A document type is refused before anything in it counts: entities could swell to any size, or name other files.
    """
    seen: dict[str, str] = {}

    def start(name: str, attributes: dict[str, str]) -> None:
        if not seen and name == "file":
            seen.update(attributes)

    def refuse(*_: object) -> None:
        raise ValueError("a checksum file has no document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError):
        return Checksum(None, None)
    md5, size = seen.get("md5", "").lower(), seen.get("total_size", "")
    return Checksum(md5 if _MD5.match(md5) else None, int(size) if size.isascii() and size.isdigit() and 0 < len(size) < 16 else None)


async def _checksum(http: httpx.AsyncClient, address: str) -> Checksum:
    """What can be had of it: the file is often missing, and then the installer is fetched unverified."""
    if not address:
        return Checksum(None, None)
    try:
        # asked for exactly as it was given: on some of GOG's CDNs the signature covers the whole address
        answer = await ask(http, STORE, _secured(address), most_bytes=_MOST_XML_BYTES, time_limit_s=30)
    except IntegError:
        return Checksum(None, None)
    return read_checksum(answer.body) if answer.status == 200 else Checksum(None, None)


def _secured(address: str) -> str:
    """GOG's own plain http addresses answer https too; nothing is asked any other way."""
    return check_outside(f"https://{address[7:]}" if address[:7].lower() == "http://" else address)
