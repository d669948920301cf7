"""
What a machine needs for games to run well: kernel, drivers, libraries, containers, controllers. Checks of the doctor.

Source of the limits: proton-ge-custom's log header (file descriptors, memory maps), pressure-vessel's documentation (user namespaces,
where it looks for bubblewrap).
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from integ_runtime.checks import Around, Check

FILES_WANTED = 524_288
MAPS_WANTED = 1_048_576
_BWRAP_PLACES = ("usr/local/libexec/flatpak-bwrap", "usr/libexec/flatpak-bwrap", "usr/lib/flatpak/flatpak-bwrap")
_TRIAL_S = 10.0
_LOADERS_32 = ("lib/ld-linux.so.2", "usr/lib/ld-linux.so.2", "lib/i386-linux-gnu/ld-linux.so.2", "usr/lib32/ld-linux.so.2")


def check_namespaces(around: Around) -> Check:
    """Steam's runtimes are containers, and containers of a plain user need user namespaces."""
    most = around.number("proc/sys/user/max_user_namespaces")
    if most == 0:
        return Check("user-namespaces", "fail", "switched off: user.max_user_namespaces is 0", _sysctl("user.max_user_namespaces", 15000))
    if around.number("proc/sys/kernel/unprivileged_userns_clone") == 0:
        told = "switched off: kernel.unprivileged_userns_clone is 0"
        return Check("user-namespaces", "fail", told, _sysctl("kernel.unprivileged_userns_clone", 1))
    if around.number("proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
        profiles = around.root / "etc/apparmor.d"
        if not any((profiles / name).exists() for name in ("bwrap-userns-restrict", "bwrap", "steam")):
            told = "AppArmor allows them only to programs with a profile, and bwrap has none"
            return Check("user-namespaces", "fail", told, _sysctl("kernel.apparmor_restrict_unprivileged_userns", 0))
    inside = [name for name in (".dockerenv", "run/.containerenv") if (around.root / name).exists()]
    if inside:
        return Check("user-namespaces", "warn", "this is a container: Steam's runtimes do not nest in one")
    return Check("user-namespaces", "ok", "allowed" if most is None else f"allowed, up to {most}")


def check_files_limit(around: Around) -> Check:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= FILES_WANTED:
        return Check("open-files", "ok", f"up to {'any number of' if hard == resource.RLIM_INFINITY else hard} files may be open")
    mend = f"echo '* hard nofile {FILES_WANTED}' | sudo tee /etc/security/limits.d/90-open-files.conf"
    return Check("open-files", "warn", f"only {hard} files may be open; esync games want {FILES_WANTED}", mend)


def check_maps(around: Around) -> Check:
    most = around.number("proc/sys/vm/max_map_count")
    if most is None or most >= MAPS_WANTED:
        return Check("memory-maps", "ok", "unknown to this kernel" if most is None else f"vm.max_map_count is {most}")
    told = f"vm.max_map_count is {most}; some games crash below {MAPS_WANTED}"
    return Check("memory-maps", "warn", told, _sysctl("vm.max_map_count", MAPS_WANTED))


def check_ntsync(around: Around) -> Check:
    device = around.root / "dev/ntsync"
    if not device.exists():
        return Check("ntsync", "warn", "/dev/ntsync is not there: fsync is used, which is slower in some games", "sudo modprobe ntsync")
    if not os.access(device, os.R_OK):
        return Check("ntsync", "warn", "/dev/ntsync may not be opened", "sudo chmod a+r /dev/ntsync")
    return Check("ntsync", "ok", "/dev/ntsync is there")


def check_screen(around: Around) -> Check:
    """Games need a screen; Integ itself does not."""
    remote = bool(around.environ.get("SSH_CONNECTION"))
    screen = around.environ.get("WAYLAND_DISPLAY") or around.environ.get("DISPLAY")
    if screen:
        told = f"{screen}, over SSH: games open where that is, and slowly" if remote else screen
        return Check("screen", "warn" if remote else "ok", told)
    if remote:
        told = "none in this SSH session: games would not find the desktop"
        return Check("screen", "warn", told, "export WAYLAND_DISPLAY=wayland-0 DISPLAY=:0")
    return Check("screen", "warn", "neither WAYLAND_DISPLAY nor DISPLAY is set: games can't open a window")


def check_vulkan(around: Around) -> Check:
    """Drivers for Vulkan, which DXVK draws with; 32-bit games need 32-bit ones from the host too."""
    widths = set(_icd_widths(around.root))
    if 64 not in widths:
        return Check("vulkan", "warn", "no Vulkan driver is installed: DirectX games can't draw", around.packages.vulkan)
    if 32 not in widths:
        return Check("vulkan", "warn", "no 32-bit Vulkan driver: 32-bit games need one, or PROTON_USE_WOW64=1", around.packages.vulkan32)
    return Check("vulkan", "ok", "64-bit and 32-bit drivers are installed")


def _icd_widths(root: Path) -> Iterator[int]:
    for folder in ("usr/share/vulkan/icd.d", "etc/vulkan/icd.d", "usr/local/share/vulkan/icd.d"):
        for file in sorted((root / folder).glob("*.json"))[:64]:
            try:
                library = str(json.loads(file.read_text("utf-8"))["ICD"]["library_path"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            narrow = any(sign in f"{file.name} {library}" for sign in ("i686", "i386", "/usr/lib/lib", "/lib32/"))
            yield 32 if narrow else 64
            if not library.startswith("/"):  # found by the loader, for each width that has it
                yield from (32 for spot in ("usr/lib32", "usr/lib/i386-linux-gnu") if (root / spot / library).exists())


def check_umu(around: Around) -> Check:
    found = around.program("umu-run")
    if found:
        return Check("umu", "ok", found)
    return Check("umu", "warn", "umu-run is not installed: Windows games then need a Steam runtime", around.packages.umu)


def check_bubblewrap(around: Around) -> Check:
    """Whether a container can really be made; the runtimes bring a bubblewrap of their own, which meets the same limits as this one."""
    named = [around.environ[name] for name in ("PRESSURE_VESSEL_BWRAP", "BWRAP") if around.environ.get(name)]
    found = next((each for each in (*named, around.program("bwrap")) if each), None)
    found = found or next((str(around.root / place) for place in _BWRAP_PLACES if (around.root / place).exists()), None)
    if found is None:
        return Check("bubblewrap", "ok", "none of the system's; Steam's runtimes bring their own")
    try:
        words = [found, "--bind", "/", "/", "true"]
        trial = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_TRIAL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("bubblewrap", "fail", f"{found} does not run: {error}", around.packages.bubblewrap)
    if trial.returncode == 0:
        return Check("bubblewrap", "ok", f"{found} makes containers")
    said = (trial.stderr.strip().splitlines() or [f"exit code {trial.returncode}"])[-1].removeprefix("bwrap: ")
    return Check("bubblewrap", "fail", f"{found} can't make a container: {said[:200]}; see user-namespaces above")


def check_libraries(around: Around) -> Check:
    """Proton's containers bring 32-bit libraries; 32-bit programs outside of them need the system's."""
    if platform.machine() not in {"x86_64", "amd64"}:
        return Check("32-bit-libraries", "ok", f"of no use on {platform.machine()}")
    loader = next((place for place in _LOADERS_32 if (around.root / place).exists()), None)
    if loader is not None:
        return Check("32-bit-libraries", "ok", f"/{loader} is there")
    told = "no 32-bit C library: older Linux games and Proton without a container do not start"
    if not around.packages.libraries32:
        told += "; this system has no package of it, and PROTON_USE_WOW64=1 does without"
    return Check("32-bit-libraries", "warn", told, around.packages.libraries32)


def check_controllers(around: Around) -> Check:
    """That controllers may be read, and that Steam may make the virtual ones that games know."""
    pads = sorted((around.root / "dev/input").glob("js*"))
    closed = [pad.name for pad in pads if not os.access(pad, os.R_OK)]
    if closed:
        return Check("controllers", "warn", f"may not be read: {', '.join(closed)}", around.packages.controllers)
    device = around.root / "dev/uinput"
    if not device.exists():
        return Check("controllers", "warn", "/dev/uinput is not there: Steam Input can make no virtual controller", "sudo modprobe uinput")
    if not os.access(device, os.W_OK):
        told = "/dev/uinput may not be written: Steam Input can make no virtual controller"
        return Check("controllers", "warn", told, around.packages.controllers)
    return Check("controllers", "ok", f"{len(pads)} connected" if pads else "none is connected; one would be seen")


def _sysctl(name: str, value: int) -> str:
    return f"echo {name}={value} | sudo tee /etc/sysctl.d/90-{name.rpartition('.')[2].replace('_', '-')}.conf && sudo sysctl --system"


LOOKS: dict[str, Callable[[Around], Check]] = {
    "screen": check_screen,
    "vulkan": check_vulkan,
    "32-bit-libraries": check_libraries,
    "user-namespaces": check_namespaces,
    "bubblewrap": check_bubblewrap,
    "open-files": check_files_limit,
    "memory-maps": check_maps,
    "ntsync": check_ntsync,
    "controllers": check_controllers,
    "umu": check_umu,
}
