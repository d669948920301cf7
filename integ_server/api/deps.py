"""What endpoints ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.db import get_session
from integ_server.services.backend import LOCAL_USER, Backend


def get_backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


def get_user(request: Request) -> str:
    """The id of who is asking: there is one, since only this machine is answered."""
    return LOCAL_USER


SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
BackendDep = Annotated[Backend, Depends(get_backend)]
CurrentUser = Annotated[str, Depends(get_user)]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=2000)]
