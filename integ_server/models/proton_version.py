"""Proton versions that the release feeds tell of."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel

from integ_server.models.columns import Moment


class ProtonVersion(SQLModel, table=True):
    __tablename__ = "proton_versions"
    __table_args__ = (Index("ix_proton_versions_published", "published_at", "version"),)

    version: str = Field(primary_key=True)
    """As `releases.families.catalogue_name` writes it: two machines' builds of one release are two versions."""
    family: str
    tag: str = Field(default="", sa_column_kwargs={"server_default": ""})
    arch: str = Field(default="", sa_column_kwargs={"server_default": ""})
    identity: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Changes when the archive is uploaded anew under the same name."""
    published_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    archive_name: str
    archive_url: str = Field(sa_column=Column(Text, nullable=False))
    digest_url: str | None = Field(default=None, sa_column=Column(Text))
    """Where the published checksum file lies."""
    digest: str | None = Field(default=None, sa_column=Column(Text))
    """`sha512:HEX` or `sha256:HEX`, once known."""
    size_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    mirror_state: str = "none"
    """Of the backend's own copy: `none`, `wanted`, `ready` or `failed`."""
    mirror_error: str = ""
    seen_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    """When a feed told of it last."""
