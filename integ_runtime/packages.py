"""How this machine's own distribution installs what Integ can use: commands to type, made from /etc/os-release."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Packages:
    """One command each; an empty text where the distribution has no package."""

    umu: str = ""
    vulkan: str = ""
    vulkan32: str = ""
    keyring: str = ""
    xdg_utils: str = ""
    bubblewrap: str = ""
    libraries32: str = ""
    controllers: str = ""
    """Rules that let a player's own programs reach controllers."""
    steam: str = "flatpak install flathub com.valvesoftware.Steam"


_DNF = Packages(
    umu="sudo dnf install umu-launcher",
    vulkan="sudo dnf install mesa-vulkan-drivers",
    vulkan32="sudo dnf install mesa-vulkan-drivers.i686",
    keyring="sudo dnf install gnome-keyring",
    xdg_utils="sudo dnf install xdg-utils",
    steam="sudo dnf install steam",
    bubblewrap="sudo dnf install bubblewrap",
    libraries32="sudo dnf install glibc.i686 libstdc++.i686",
    controllers="sudo dnf install steam-devices",
)
_APT = Packages(
    umu="xdg-open https://github.com/Open-Wine-Components/umu-launcher/releases",
    vulkan="sudo apt install mesa-vulkan-drivers",
    vulkan32="sudo dpkg --add-architecture i386 && sudo apt update && sudo apt install mesa-vulkan-drivers:i386",
    keyring="sudo apt install gnome-keyring",
    xdg_utils="sudo apt install xdg-utils",
    steam="sudo apt install steam-installer",
    bubblewrap="sudo apt install bubblewrap",
    libraries32="sudo dpkg --add-architecture i386 && sudo apt update && sudo apt install libc6:i386 libstdc++6:i386",
    controllers="sudo apt install steam-devices",
)
_PACMAN = Packages(
    umu="sudo pacman -S umu-launcher",
    vulkan="sudo pacman -S vulkan-radeon",
    vulkan32="sudo pacman -S lib32-vulkan-radeon",
    keyring="sudo pacman -S gnome-keyring",
    xdg_utils="sudo pacman -S xdg-utils",
    steam="sudo pacman -S steam",
    bubblewrap="sudo pacman -S bubblewrap",
    libraries32="sudo pacman -S lib32-glibc lib32-gcc-libs",
    controllers="sudo pacman -S steam",
)
_ZYPPER = Packages(
    umu="sudo zypper install umu-launcher",
    vulkan="sudo zypper install libvulkan_radeon",
    vulkan32="sudo zypper install libvulkan_radeon-32bit",
    keyring="sudo zypper install gnome-keyring",
    xdg_utils="sudo zypper install xdg-utils",
    steam="sudo zypper install steam",
    bubblewrap="sudo zypper install bubblewrap",
    libraries32="sudo zypper install glibc-32bit libstdc++6-32bit",
    controllers="sudo zypper install steam-devices",
)
# RHEL and its like have no umu and no 32-bit packages; SteamOS has Steam, drivers and a read-only system that updates replace.
_RHEL = Packages(
    vulkan="sudo dnf install mesa-vulkan-drivers",
    keyring="sudo dnf install gnome-keyring",
    xdg_utils="sudo dnf install xdg-utils",
    bubblewrap="sudo dnf install bubblewrap",
)
_STEAMOS = Packages(umu="integ config set runner runtime", steam="steam")

_BY_ID = {
    "steamos": _STEAMOS,
    "fedora": _DNF,
    "nobara": _DNF,
    "rhel": _RHEL,
    "centos": _RHEL,
    "rocky": _RHEL,
    "almalinux": _RHEL,
    "debian": _APT,
    "ubuntu": _APT,
    "arch": _PACMAN,
    "opensuse": _ZYPPER,
    "suse": _ZYPPER,
}


def read_packages(root: Path = Path("/")) -> Packages:
    """The commands of the distribution that `os-release` below *root* names, or of the nearest one it is like."""
    known = _os_release(root)
    names = [known.get("ID", ""), *known.get("ID_LIKE", "").split()]
    for name in names:
        found = _BY_ID.get(name) or _BY_ID.get(name.partition("-")[0])
        if found is not None:
            return found
    return Packages()


def _os_release(root: Path) -> dict[str, str]:
    for place in ("etc/os-release", "usr/lib/os-release"):
        try:
            text = (root / place).read_text("utf-8", "replace")
        except OSError:
            continue
        pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
        return {name.strip(): _unquoted(value) for name, _, value in pairs}
    return {}


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        return ""
    return words[0] if words else ""
