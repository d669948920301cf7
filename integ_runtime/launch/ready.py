"""A prefix as what is about to run in it needs it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from integ_runtime import late_loop
from integ_runtime.downloads.background import Stop, in_background
from integ_runtime.launch import prefix as prefixes
from integ_runtime.prefix.versions import Used

if TYPE_CHECKING:
    from integ_runtime.launch.plan import LaunchPlan
    from integ_runtime.proton.installed import InstalledBuild


async def make_ready(plan: LaunchPlan, build: InstalledBuild | None) -> None:
    """
    Let *plan* find its prefix as *build* needs it, with a snapshot where that is a step back; for the holder of the play lock.

    Raises:
        BusyError, StorageError: No snapshot could be kept, or something else runs in it; see `prefix`.
    """
    assert plan.prefix is not None
    await late_loop.in_thread(prefixes.prepare, plan.prefix)
    is_wine = plan.runner == "wine"
    if is_wine and await late_loop.in_thread(prefixes.is_in_use, plan.prefix):
        await late_loop.needed()
        await in_background(partial(prefixes.wait_for_wine, plan.prefix), name="prefix")
    if build is None:
        return
    used = Used(build.version, build.family)
    note = partial(prefixes.note_build, plan.prefix, used)
    if await late_loop.in_thread(prefixes.step_back, plan.prefix, used):
        await late_loop.needed()
        await in_background(note, name="prefix")
    else:
        await late_loop.in_thread(note, Stop())
    if is_wine:
        await late_loop.in_thread(prefixes.keep_folders, plan.prefix)
