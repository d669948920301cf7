"""Everything that can go wrong in the sandbox, by name; off until a test or `--fault` turns it on."""

from __future__ import annotations

import threading

KNOWN: dict[str, str] = {
    "steam.private_profile": "game details are hidden: GetOwnedGames answers an empty response to anybody else's key",
    "steam.empty_library": "the account is public and owns nothing",
    "steam.wrong_key": "every key is refused as if it were wrong: 403 and HTML",
    "steam.unauthorized": "every key is refused the other way: 401 and HTML",
    "steam.rate_limited": "429 with Retry-After in seconds",
    "steam.rate_limited_date": "429 with Retry-After as an HTTP date",
    "steam.rate_limited_silent": "429 with an empty body and no Retry-After",
    "steam.down": "503: an HTML page that claims to be JSON",
    "steam.html": "200 with an HTML page where JSON belongs",
    "steam.cut_body": "the connection closes in the middle of the answer",
    "steam.half_list": "GetOwnedGames announces more games than it lists",
    "steam.null": "appdetails answers a bare null: throttled",
    "openid.cancel": "the player says no: openid.mode=cancel and nothing else",
    "openid.forged": "the assertion's signature is not Steam's",
    "openid.wrong_op_endpoint": "openid.op_endpoint names another server",
    "openid.old_nonce": "the nonce is an hour old",
    "openid.crlf": "the verification answer has CRLF line ends (a valid answer)",
    "openid.substring": "the verification answer holds is_valid:true inside other text",
    "openid.lookalike": "claimed_id and identity lie on a host that only looks like Steam's",
    "openid.other_return_to": "openid.return_to names another address than the one asked for",
    "openid.duplicate_field": "openid.claimed_id occurs twice",
    "openid.reused": "the assertion was checked before: is_valid:false",
    "openid.403": "the verification is refused with 403",
    "openid.429": "the verification is refused with 429",
    "openid.503": "the verification fails with 503",
    "feed.rate_limited": "403 with x-ratelimit-remaining: 0 and a reset time",
    "feed.secondary_limit": "429 with retry-after: GitHub's secondary limit",
    "feed.down": "api.github.com answers 502",
    "feed.html": "200 with an HTML page where JSON belongs",
    "feed.no_assets": "every release is still being built: empty asset lists",
    "feed.newest_empty": "the newest stable release has an empty asset list, as in the hours before its build is done",
    "feed.no_checksum": "releases hold no checksum file and no digest",
    "feed.wrong_checksum": "the published checksum is that of another file, the API's digest too",
    "feed.checksum_garbage": "the checksum file holds no checksum",
    "feed.insecure_address": "the download addresses are plain http",
    "feed.asset_gone": "the asset's address answers 404",
    "feed.cut_body": "the download's connection closes at 40 %",
    "feed.range_off": "the asset host ignores Range and sends the whole file",
    "feed.link_expired": "the signed address has run out: 403 on the asset host",
    "feed.slow": "the download comes in small pieces with a pause after each, ten seconds at most",
    "feed.stall": "the download stops at 40 % until the fault is turned off, thirty seconds at most",
    "feed.hostile_dotdot": "the archive holds a member that climbs out with ..",
    "feed.hostile_absolute": "the archive holds a member with an absolute path",
    "feed.hostile_symlink": "the archive writes through a symlink that leads out of it",
    "feed.hostile_hardlink": "the archive holds a hard link to a file outside",
    "feed.hostile_device": "the archive holds a device node",
    "feed.bomb": "the archive is small and unpacks to more than any build has",
    "feed.two_tops": "the archive has two top folders",
    "feed.wrong_top": "the archive's top folder has another build's name",
    "feed.no_manifest": "the build lacks toolmanifest.vdf",
    "feed.no_proton": "the build lacks its proton script",
    "feed.zstd_inside": "the archive is packed with zstd, whatever its name says",
    "feed.truncated_archive": "the archive itself ends early, with a matching checksum",
}
"""Name and meaning. Other parts of the sandbox add theirs with `register()`."""


class UnknownFaultError(LookupError):
    """Nothing can go wrong under that name."""


def register(name: str, meaning: str) -> None:
    """Make a fault known; the same name with another meaning is a mistake in the sandbox."""
    if KNOWN.setdefault(name, meaning) != meaning:
        raise ValueError(f"the fault {name} already means something else")


class Faults:
    """Which faults are on. Tests turn them from their own thread while the sandbox answers in its own."""

    def __init__(self) -> None:
        self._left: dict[str, int | None] = {}
        self._lock = threading.Lock()

    def on(self, name: str, times: int | None = None) -> None:
        """
        Turn a fault on, for good or for its next *times* hits.

        Raises:
            UnknownFaultError: No such fault.
            ValueError: *times* is less than one.
        """
        if name not in KNOWN:
            raise UnknownFaultError(name)
        if times is not None and times < 1:
            raise ValueError("a fault happens at least once")
        with self._lock:
            self._left[name] = times

    def off(self, name: str) -> None:
        """
        Turn a fault off; it need not be on.

        Raises:
            UnknownFaultError: No such fault.
        """
        if name not in KNOWN:
            raise UnknownFaultError(name)
        with self._lock:
            self._left.pop(name, None)

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def names(self) -> list[str]:
        """Those that are on now."""
        with self._lock:
            return sorted(self._left)

    def active(self, name: str) -> bool:
        """Whether the fault is on, without counting a hit."""
        _known(name)
        with self._lock:
            return name in self._left

    def hit(self, name: str) -> bool:
        """Whether the fault strikes here and now; counts towards its `times`."""
        _known(name)
        with self._lock:
            if name not in self._left:
                return False
            left = self._left[name]
            if left is not None:
                if left == 1:
                    del self._left[name]
                else:
                    self._left[name] = left - 1
            return True


def _known(name: str) -> None:
    if name not in KNOWN:
        raise UnknownFaultError(name)
