"""Whether this machine's processor can run a build: some are made for newer ones, and end with "illegal instruction" on others."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from integ_server.releases.families import NEWER_X86, machine_of, this_arch

_CPUINFO = Path("/proc/cpuinfo")
# As the kernel calls them; the levels are those of the x86-64 psABI, and each has what those before it have.
_NEEDS = dict(
    zip(
        NEWER_X86,
        (
            "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
            "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
            "avx512f avx512bw avx512cd avx512dq avx512vl",
        ),
        strict=True,
    )
)


def can_run(arch: str, cpuinfo: Path = _CPUINFO) -> bool:
    """Whether builds for *arch* run on this machine."""
    if machine_of(arch) != this_arch():
        return False
    if arch not in NEWER_X86:
        return True
    levels = NEWER_X86[: NEWER_X86.index(arch) + 1]
    return {flag for level in levels for flag in _NEEDS[level].split()} <= _flags(cpuinfo)


@lru_cache(maxsize=4)
def _flags(cpuinfo: Path) -> frozenset[str]:
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), frozenset())
