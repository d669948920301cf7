"""The doctor on machines laid out for it: what it finds, and the command of the right distribution that mends it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from integ_runtime import doctor, gaming
from integ_runtime.checks import Around, Check
from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.doctor import examine
from integ_runtime.packages import read_packages
from integ_runtime.paths import read_paths
from integ_runtime.settings import RuntimeSettings
from integ_runtime.steam.library import SteamSnapshot
from integ_server.contract.errors import BackendUnreachableError, StorageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine on which everything is as it should be, as far as it stands in files."""
    root = tmp_path / "machine"
    for file, text in {
        "etc/os-release": 'NAME="Fedora Linux"\nID=fedora\nVERSION_ID=43\n',
        "proc/sys/user/max_user_namespaces": "63000\n",
        "proc/sys/vm/max_map_count": "1048576\n",
        "dev/ntsync": "",
        "dev/uinput": "",
        "lib/ld-linux.so.2": "",
        "usr/share/vulkan/icd.d/radeon_icd.x86_64.json": json.dumps({"ICD": {"library_path": "/usr/lib64/libvulkan_radeon.so"}}),
        "usr/share/vulkan/icd.d/radeon_icd.i686.json": json.dumps({"ICD": {"library_path": "/usr/lib/libvulkan_radeon.so"}}),
    }.items():
        put(root / file, text)
    return root


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def around(home: Path, root: Path, tmp_path: Path) -> Around:
    programs = tmp_path / "bin"
    for name in ("umu-run", "xdg-open", "bwrap"):
        put(programs / name, "#!/bin/sh\n")
        (programs / name).chmod(0o755)
    environ = {"HOME": str(home), "PATH": str(programs), "WAYLAND_DISPLAY": "wayland-0", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}
    return Around(RuntimeSettings(read_paths(environ)), environ, read_packages(root), root)


def with_environ(around: Around, **more: str) -> Around:
    return Around(around.settings, {**around.environ, **more}, around.packages, around.root)


def test_a_damaged_record_and_a_half_done_install_are_told(around: Around) -> None:
    paths = around.settings.paths
    game = InstalledGame("gog:1", "Tea", paths.home / "Games/Tea", "linux", "integ")
    games = InstalledGames(paths)
    games.save(game)
    assert (doctor.check_games(around).state, doctor.check_games(around).found) == ("ok", "1 installed through Integ")
    for state, mend in (("installing", "integ install gog:1"), ("removing", "integ uninstall gog:1")):
        games.save(game._replace(state=state))
        assert doctor.check_games(around) == Check("games", "warn", "half done: Tea", mend)
    record = paths.game_dir("gog:1") / "install.json"
    record.write_text("{")
    found = doctor.check_games(around)
    assert (found.state, found.mend) == ("fail", f"mv {record} {record}.damaged")


LOOKS = [
    doctor.check_python,
    doctor.check_folders,
    doctor.check_secrets,
    gaming.check_namespaces,
    gaming.check_maps,
    gaming.check_ntsync,
    gaming.check_screen,
    gaming.check_vulkan,
    gaming.check_umu,
    gaming.check_libraries,
    gaming.check_bubblewrap,
    gaming.check_controllers,
    doctor.check_browser,
    doctor.check_upstream,
    doctor.check_games,
]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.__name__)
def test_a_machine_as_it_should_be_needs_no_mending(around: Around, look: Any) -> None:
    found = look(around)
    assert (found.state, found.mend) == ("ok", ""), found.found


@pytest.mark.parametrize(
    ("file", "text", "mend"),
    [
        ("proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        ("proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ],
)
def test_blocked_user_namespaces_are_a_failure(around: Around, root: Path, file: str, text: str, mend: str) -> None:
    put(root / file, text)
    found = gaming.check_namespaces(around)
    assert found.state == "fail"
    assert mend in found.mend


def test_an_apparmor_profile_for_bwrap_lifts_the_block(around: Around, root: Path) -> None:
    put(root / "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")
    put(root / "etc/apparmor.d/bwrap-userns-restrict", "")
    assert gaming.check_namespaces(around).state == "ok"


def test_a_container_is_told(around: Around, root: Path) -> None:
    put(root / "run/.containerenv", "")
    assert gaming.check_namespaces(around).state == "warn"


def test_a_kernel_that_tells_nothing_is_no_failure(around: Around, root: Path) -> None:
    (root / "proc/sys/user/max_user_namespaces").unlink()
    put(root / "proc/sys/vm/max_map_count", "what?")
    assert gaming.check_namespaces(around).state == gaming.check_maps(around).state == "ok"


def test_few_memory_maps_and_files_and_no_ntsync(around: Around, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "proc/sys/vm/max_map_count", "65530")
    (root / "dev/ntsync").unlink()
    monkeypatch.setattr(gaming.resource, "getrlimit", lambda _: (1024, 4096))
    found = [gaming.check_maps(around), gaming.check_ntsync(around), gaming.check_files_limit(around)]
    assert [each.state for each in found] == ["warn"] * 3
    assert "vm.max_map_count=1048576" in found[0].mend
    assert found[1].mend == "sudo modprobe ntsync"
    assert "524288" in found[2].mend


@pytest.mark.parametrize(("limit", "state"), [(524_288, "ok"), (524_287, "warn"), (gaming.resource.RLIM_INFINITY, "ok")])
def test_the_limit_of_open_files(around: Around, monkeypatch: pytest.MonkeyPatch, limit: int, state: str) -> None:
    monkeypatch.setattr(gaming.resource, "getrlimit", lambda _: (1024, limit))
    assert gaming.check_files_limit(around).state == state


def test_missing_and_half_missing_vulkan(around: Around, root: Path) -> None:
    icds = root / "usr/share/vulkan/icd.d"
    (icds / "radeon_icd.i686.json").unlink()
    put(icds / "damaged.json", "{")
    half = gaming.check_vulkan(around)
    assert (half.state, half.mend) == ("warn", "sudo dnf install mesa-vulkan-drivers.i686")
    (icds / "radeon_icd.x86_64.json").unlink()
    assert gaming.check_vulkan(around).mend == "sudo dnf install mesa-vulkan-drivers"


@pytest.mark.parametrize(
    "said",
    [
        "bwrap: No permissions to creating new namespace, likely because the kernel does not allow non-privileged user namespaces.",
        "bwrap: setting up uid map: Permission denied",
        "bwrap: Creating new namespace failed: No space left on device",
    ],
)
def test_a_bubblewrap_that_can_make_no_container_is_a_failure_in_its_own_words(around: Around, said: str) -> None:
    program = Path(around.program("bwrap") or "")
    put(program, f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    found = gaming.check_bubblewrap(around)
    assert found.state == "fail" and said.removeprefix("bwrap: ") in found.found
    program.write_bytes(b"#!/bin/sh\necho 'bwrap: nicht m\xf6glich' >&2\nexit 1\n")  # in the words of a locale that is not UTF-8
    assert "can't make a container: nicht m" in gaming.check_bubblewrap(around).found
    program.chmod(0o644)
    assert gaming.check_bubblewrap(around).state == "ok"  # then the runtimes' own is what counts
    broken = gaming.check_bubblewrap(with_environ(around, BWRAP=str(program)))
    assert (broken.state, broken.mend) == ("fail", "sudo dnf install bubblewrap")


def test_flatpak_s_bubblewrap_counts_where_there_is_no_other(around: Around, root: Path) -> None:
    Path(around.program("bwrap") or "").unlink()
    put(root / "usr/libexec/flatpak-bwrap", "#!/bin/sh\nexit 0\n")
    (root / "usr/libexec/flatpak-bwrap").chmod(0o755)
    assert "flatpak-bwrap makes containers" in gaming.check_bubblewrap(around).found


def test_missing_32_bit_libraries_are_told_with_the_package_or_the_way_without(
    around: Around, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaming.platform, "machine", lambda: "x86_64")
    (root / "lib/ld-linux.so.2").unlink()
    assert gaming.check_libraries(around).mend == "sudo dnf install glibc.i686 libstdc++.i686"
    put(root / "etc/os-release", 'ID="rhel"\nID_LIKE="fedora"\n')
    rhel = gaming.check_libraries(Around(around.settings, around.environ, read_packages(root), root))
    assert (rhel.state, rhel.mend) == ("warn", "") and "PROTON_USE_WOW64=1" in rhel.found
    monkeypatch.setattr(gaming.platform, "machine", lambda: "aarch64")
    assert gaming.check_libraries(around).state == "ok"


def test_controllers_that_may_not_be_read_and_a_steam_input_that_can_make_none(
    around: Around, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pad, device = root / "dev/input/js0", root / "dev/uinput"
    put(pad, "")
    assert gaming.check_controllers(around).found == "1 connected"
    closed = {pad}
    monkeypatch.setattr(gaming.os, "access", lambda path, mode: path not in closed)
    found = gaming.check_controllers(around)
    assert (found.state, found.found, found.mend) == ("warn", "may not be read: js0", "sudo dnf install steam-devices")
    closed = {device}
    assert "may not be written" in gaming.check_controllers(around).found
    device.unlink()
    assert gaming.check_controllers(around).mend == "sudo modprobe uinput"


def test_no_screen_and_a_screen_over_ssh(around: Around) -> None:
    assert gaming.check_screen(with_environ(around, WAYLAND_DISPLAY="")).state == "warn"
    remote = gaming.check_screen(with_environ(around, WAYLAND_DISPLAY="", SSH_CONNECTION="a b c d"))
    assert "WAYLAND_DISPLAY=wayland-0" in remote.mend
    assert "over SSH" in gaming.check_screen(with_environ(around, DISPLAY=":10", WAYLAND_DISPLAY="", SSH_CONNECTION="a b c d")).found


def test_missing_programs(around: Around) -> None:
    bare = with_environ(around, PATH="/nonexistent")
    assert gaming.check_umu(bare).mend == "sudo dnf install umu-launcher"
    assert doctor.check_browser(bare).mend == "sudo dnf install xdg-utils"


def test_a_key_in_a_file_is_told_plainly(around: Around) -> None:
    put(around.settings.paths.data / "key.json", json.dumps({"id": "a", "where": "file", "key": "00"}))
    found = doctor.check_secrets(around)
    assert found.state == "warn"
    assert "only as safe as your home folder" in found.found
    put(around.settings.paths.data / "key.json", json.dumps({"id": "a", "where": "secret-service"}))
    assert doctor.check_secrets(around).state == "ok"
    assert doctor.check_secrets(Around(around.settings, {}, around.packages, around.root)).state == "ok"


def test_a_folder_that_is_a_file_is_a_failure(around: Around) -> None:
    put(around.settings.paths.home / ".cache", "a file")
    found = doctor.check_folders(around)
    assert found.state == "fail"
    assert found.mend.startswith("mv ")


@pytest.mark.parametrize(("free", "state"), [(1 << 40, "ok"), (5 << 30, "warn"), (1 << 20, "fail")])
def test_free_space(around: Around, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    found = doctor.check_space(around)
    assert found.state == state
    assert bool(found.mend) == (state != "ok")


def test_another_outside_is_told(around: Around) -> None:
    settings = RuntimeSettings(around.settings.paths, upstream_url="https://mirror.example")
    found = doctor.check_upstream(Around(settings, around.environ, around.packages, around.root))
    assert (found.state, "https://mirror.example" in found.found) == ("warn", True)


NO_STEAM = SteamSnapshot((), (), (), (), (), {}, "", ())


def test_steam_and_what_it_could_not_say(around: Around) -> None:
    assert doctor.check_steam(around, NO_STEAM).mend == "sudo dnf install steam"
    root = SimpleNamespace(path=Path("/steam"), flavour="native")
    odd: Any = SimpleNamespace(roots=(root,), warnings=tuple(f"file {n}.acf is damaged" for n in range(5)), games=())
    found = doctor.check_steam(around, odd)
    assert found.state == "warn"
    assert "file 0.acf is damaged" in found.found
    assert "2 more" in found.found


def test_the_runtime_may_be_umu_s_own(around: Around) -> None:
    assert doctor.check_runtime(around, NO_STEAM).state == "warn"
    (around.settings.paths.home / ".local/share/umu/steamrt3").mkdir(parents=True)
    assert doctor.check_runtime(around, NO_STEAM).state == "ok"


@pytest.mark.parametrize(
    ("release", "umu"),
    [
        ("ID=fedora\n", "sudo dnf install umu-launcher"),
        ('ID="bazzite"\nID_LIKE="fedora"\n', "sudo dnf install umu-launcher"),
        ("ID=debian\n", "xdg-open https://github.com/Open-Wine-Components/umu-launcher/releases"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "xdg-open https://github.com/Open-Wine-Components/umu-launcher/releases"),
        ("ID=steamos\nID_LIKE=arch\n", "integ config set runner runtime"),
        ("ID=opensuse-tumbleweed\n", "sudo zypper install umu-launcher"),
        ('ID="rhel"\nID_LIKE="fedora"\n', ""),
        ("ID=unheard-of\n", ""),
        ("ID='unended\n# comment\nnonsense", ""),
    ],
)
def test_each_distribution_has_its_own_commands(tmp_path: Path, release: str, umu: str) -> None:
    put(tmp_path / "etc/os-release", release)
    assert read_packages(tmp_path).umu == umu


def test_a_machine_without_os_release_has_no_commands(tmp_path: Path) -> None:
    assert read_packages(tmp_path).umu == ""


def fake_runtime(around: Around, *, builds: Any = (), status: Any = None) -> Any:
    async def list_items() -> Any:
        return answered(builds)

    async def told() -> Any:
        return answered(status)

    def answered(value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    steam = SimpleNamespace(snapshot=lambda: NO_STEAM)
    return SimpleNamespace(settings=around.settings, steam=steam, proton=SimpleNamespace(list_items=list_items), status=told)


async def checks(around: Around, **more: Any) -> dict[str, Check]:
    found = await examine(fake_runtime(around, **more), root=around.root, environ=around.environ)
    return {each.name: each for each in found}


async def test_every_check_has_a_name_of_its_own_and_a_sign_in_is_suggested(around: Around) -> None:
    found = await checks(around, builds=[], status={"accounts": []})
    assert len(found) == 21
    assert found["proton"].mend == "integ install-proton"
    assert found["backend"].mend == "integ login"


async def test_an_account_to_sign_in_again_is_named(around: Around) -> None:
    accounts = [{"provider": "gog", "state": "signed_out"}, {"provider": "steam", "state": "ok"}]
    found = await checks(around, builds=[{"version": "GE-Proton9-1", "default": True}], status={"accounts": accounts})
    assert found["backend"].mend == "integ login gog"
    assert found["proton"].state == "ok"


async def test_a_backend_that_is_away_and_a_broken_disk_are_failures_not_ends(around: Around) -> None:
    found = await checks(
        around, builds=StorageError("the disk fails", hint="integ proton list"), status=BackendUnreachableError("no answer", hint="wait")
    )
    assert (found["backend"].state, found["backend"].mend) == ("fail", "")
    assert found["backend"].found.endswith("no answer; wait")
    assert (found["proton"].state, found["proton"].mend) == ("fail", "integ proton list")


async def test_a_read_only_disk_under_everything_is_found_and_the_doctor_does_not_send_to_itself(around: Around) -> None:
    away = OSError(errno.EROFS, "Read-only file system", "/home/x/.local/share/integ/.key.lock")
    found = await checks(around, builds=StorageError("the disk fails"), status=away)
    assert (found["backend"].state, found["proton"].state) == ("fail", "fail")
    assert "Read-only file system" in found["backend"].found
    assert (found["backend"].mend, found["proton"].mend) == ("", "")


def test_a_folder_on_a_read_only_disk_is_no_question_of_who_owns_it(around: Around, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert doctor.check_folders(around).mend.startswith("sudo chown ")
    monkeypatch.setattr(doctor.os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    found = doctor.check_folders(around)
    assert (found.state, found.mend.split()[0]) == ("fail", "findmnt")


def test_a_full_disk_under_the_database_alone_is_found(around: Around, monkeypatch: pytest.MonkeyPatch) -> None:
    data = around.settings.paths.data
    data.mkdir(parents=True)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda of: SimpleNamespace(free=0 if of == data else 1 << 40))
    found = doctor.check_space(around)
    assert (found.state, str(data) in found.mend) == ("fail", True)


def test_a_runtime_is_fetched_through_steam_only_where_steam_is(around: Around, tmp_path: Path) -> None:
    bare = with_environ(around, PATH=str(tmp_path / "programs"))
    assert doctor.check_runtime(bare, NO_STEAM).mend == ""
    put(tmp_path / "programs" / "steam", "#!/bin/sh\n")
    (tmp_path / "programs" / "steam").chmod(0o755)
    assert doctor.check_runtime(bare, NO_STEAM).mend.startswith("steam steam://install/")
