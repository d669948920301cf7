"""How far a user's library is and what happens to it: what clients ask for most, out of a copy beside the database when there is one."""

from __future__ import annotations

from integ_server.contract.types import SyncStatus
from integ_server.services import accounts, jobs, library
from integ_server.services.backend import Backend
from integ_server.services.events import revision_copy, status_copy


async def revision(backend: Backend, user_id: str, held: str | None) -> int:
    """The library's revision; *held* is what the cache has under `revision_copy(user_id)`."""

    async def read() -> str:
        async with backend.db.reading() as session:
            return str(await library.revision(session, user_id))

    return int(await backend.copies.find(revision_copy(user_id), held, read))


async def sync_status(backend: Backend, user_id: str, held: str | None) -> str:
    """A `SyncStatus` as JSON; *held* is what the cache has under `status_copy(user_id)`."""

    async def read() -> str:
        async with backend.db.reading() as session:
            status = SyncStatus(
                revision=await library.revision(session, user_id),
                accounts=await accounts.infos(session, user_id),
                jobs=await jobs.current(session, user_id),
            )
        return status.model_dump_json()

    return await backend.copies.find(status_copy(user_id), held, read)
