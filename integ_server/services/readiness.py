"""What the backend needs to do its work, and whether it is there."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from integ_server.contract.errors import BackendUnreachableError, IntegError, IntegrityError, UsageError
from integ_server.contract.running import Check
from integ_server.migrations.upgrade import known_revisions
from integ_server.models.account import Account
from integ_server.schema_gate import SchemaGate
from integ_server.services import access, presence
from integ_server.services.backend import Backend

CHECK_WITHIN_S = 3.0
_log = logging.getLogger("integ.readiness")


async def checks(backend: Backend) -> list[Check]:
    """Each thing that is needed, looked at side by side and within `CHECK_WITHIN_S`; no text in it holds an address or a secret."""
    looks: dict[str, tuple[Callable[[Backend], Awaitable[Check]], str]] = {
        "database": (_database, "check INTEG_DATABASE_URL and the database server"),
        "redis": (_redis, "check INTEG_REDIS_URL and the Redis server"),
        "workers": (_workers, "start a worker"),
        "keys": (_keys, "bring the missing key back into INTEG_SECRET_KEY"),
    }
    if backend.settings.proton_mirror_dir is not None:
        looks["mirror"] = (_mirror, "check INTEG_PROTON_MIRROR_DIR and who may write there")
    return list(await asyncio.gather(*(_looked_at(backend, name, look, mend) for name, (look, mend) in looks.items())))


async def _looked_at(backend: Backend, name: str, look: Callable[[Backend], Awaitable[Check]], mend: str) -> Check:
    """One check; a failure that nobody expected is one too, and its own words go to the log alone."""
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            return await look(backend)
    except TimeoutError:
        found = f"no answer within {CHECK_WITHIN_S:g} s"
    except IntegError as error:
        found = error.message
    except (SQLAlchemyError, OSError) as error:
        _log.warning("%s is not ready: %s", name, type(error).__name__)
        found = "it does not answer"
    # While the database or Redis is away nobody can tell about the rest, which is no further fault.
    return Check(name=name, state="fail" if name in {"database", "redis"} else "warn", found=found, mend=mend)


async def _database(backend: Backend) -> Check:
    if backend.schema is not None and not await backend.schema.look():
        return _shut(backend.schema)
    async with backend.db.reading() as session:
        revision = str((await session.execute(text("SELECT version_num FROM alembic_version"))).scalar())
    newest = known_revisions()[-1]
    if revision == newest:
        return Check(name="database", state="ok", found=f"schema {revision}")
    mend = "integ migrate" if revision in known_revisions() else "restart this process with the newer version"
    return Check(name="database", state="fail", found=f"schema {revision}, this version needs {newest}", mend=mend)


def _shut(schema: SchemaGate) -> Check:
    """What the gate found, without an address or a path."""
    newest = known_revisions()[-1]
    found, mend = "it does not answer", "check INTEG_DATABASE_URL and the database server"
    if isinstance(schema.trouble, UsageError):
        found, mend = f"its tables are missing, or older than this version needs ({newest})", "integ migrate"
    elif isinstance(schema.trouble, IntegrityError):
        found = f"it is of a newer version than {newest}, or none of Integ's"
        mend = "restart this process with the newer version, or correct INTEG_DATABASE_URL"
    return Check(name="database", state="fail", found=found, mend=mend)


async def _redis(backend: Backend) -> Check:
    await backend.cache.get("ready")
    return Check(name="redis", state="ok", found="answers" if backend.settings.redis_url else "a stand-in in this process")


async def _workers(backend: Backend) -> Check:
    """For information: without a worker syncs wait, and everything else goes on."""
    if backend.settings.redis_url is None:
        return Check(name="workers", state="ok", found="in this process")
    try:
        is_alive = await presence.is_any_worker_alive(backend.cache)
    except BackendUnreachableError:
        return Check(name="workers", state="warn", found="nobody can tell without Redis")
    if is_alive:
        return Check(name="workers", state="ok", found="at least one lives")
    return Check(name="workers", state="warn", found="none has shown itself lately", mend="start a worker")


async def _keys(backend: Backend) -> Check:
    """A key seals and opens, and opens what was stored last: else this is another backend's database."""
    if backend.vault.open(backend.vault.seal("ready", "readiness"), "readiness") != "ready":
        return Check(name="keys", state="fail", found="what is sealed does not open again")
    if backend.schema is not None and not backend.schema.is_open:
        return Check(name="keys", state="warn", found="nobody can tell without the database")
    newest = select(Account).where(Account.secret.is_not(None)).order_by(Account.id.desc()).limit(1)  # type: ignore[union-attr]
    async with backend.db.reading() as session:
        account = (await session.execute(newest)).scalar()
    if account is not None:
        try:
            access.opened(account, backend.vault)
        except IntegError:
            mend = "bring the missing key back into INTEG_SECRET_KEY"
            return Check(name="keys", state="fail", found="stored sign-ins can't be read with the keys in use", mend=mend)
    return Check(name="keys", state="ok", found="seal and open")


async def _mirror(backend: Backend) -> Check:
    """For information: players fetch a Proton build that the mirror lacks from where it is published."""
    folder = backend.settings.proton_mirror_dir
    assert folder is not None
    if await asyncio.to_thread(lambda: folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
        return Check(name="mirror", state="ok", found="can be written")
    return Check(name="mirror", state="warn", found="its folder is missing or can't be written", mend="check INTEG_PROTON_MIRROR_DIR")
