"""Proton versions as the backend knows them: its catalogue, and its own copies of archives."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from integ_server.contract.types import JobInfo, Wire

MirrorState = Literal["none", "wanted", "ready", "failed"]


class ProtonVersionInfo(Wire):
    version: str
    """Unique in the catalogue; also the address of the archive."""
    family: str
    tag: str
    """The release's name, as its publisher has it; where that is another family's too, or of several builds, with what sets it apart."""
    arch: str
    """`x86_64` or `aarch64`; `x86_64_v3` and the like for newer processors alone."""
    published_at: datetime
    archive_name: str
    archive_url: str
    """At the publisher."""
    size_bytes: int
    identity: str
    """Changes when the archive is uploaded anew under the same name."""
    digest: str | None = None
    """`sha512:HEX` or `sha256:HEX`; None until somebody read it."""
    digest_url: str | None = None
    """The publisher's file of checksums."""
    mirror_state: MirrorState = "none"
    """Of the backend's own copy, which is served as `GET /proton/versions/{version}/archive` once it is `ready`."""
    mirror_error: str = ""


class ProtonRequest(Wire):
    """Body of `POST /proton/install`."""

    version: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")
    """A version of the catalogue, or a name that players type: `latest`, `ge-8.26`, `umu`, `ge-11.6@aarch64`, `wine-11.7`."""
    family: str | None = Field(default=None, max_length=40)
    """As the name says when it is not given; `latest` is then the newest GE-Proton."""


class ProtonRequested(Wire):
    version: str
    mirror_state: MirrorState
    job: JobInfo | None = None
    """What fetches it; None when it is there."""
