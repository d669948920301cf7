"""What of a declared state is not so yet, found out before anything is changed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from integ_runtime.cache.records import TitleRow
from integ_runtime.content.installed import is_key
from integ_runtime.progress import Report
from integ_runtime.settings import parse_setting, read_config_file, shown_address
from integ_runtime.state.document import DeclaredGame, DeclaredOptions, DeclaredState, setting_text, wanted_versions
from integ_runtime.state.options import merged, told
from integ_server.contract.errors import GameNotFoundError, UsageError

if TYPE_CHECKING:
    from integ_runtime.launch.options import GameOptions
    from integ_runtime.runtime import Runtime

Work = Callable[["Runtime", Report], Awaitable[bool]]
"""Answers whether the backend has heard of it."""
_OF_TITLES = ("favourite", "hidden", "tags", "notes")
_OF_RELEASES = ("proton", "launch_options")


@dataclass(slots=True)
class Change:
    kind: str
    """setting, proton, preference, split, merge or game."""
    name: str
    """Of the setting, the preference, the build; a game's key."""
    field: str
    before: Any
    after: Any
    title: str = ""


@dataclass(slots=True)
class Step:
    """Changes that are made together or not at all."""

    changes: list[Change]
    work: Work = field(repr=False)


async def plan(runtime: Runtime, state: DeclaredState) -> list[Step]:
    """
    The steps that bring *state* about, in order; none when all is so already. Nothing is touched.

    Raises:
        GameNotFoundError, AmbiguousError: A game is not in this library, or is not one game.
        UsageError: The same is declared twice, in two ways.
    """
    found = await _Games.find(runtime, state)
    steps = _settings(runtime, state)
    steps += await _proton(runtime, state)
    steps += await _preferences(runtime, state)
    steps += found.arrange(state)
    steps += await found.decide(runtime)
    return steps


def _settings(runtime: Runtime, state: DeclaredState) -> list[Step]:
    written = read_config_file(runtime.paths.config_file)
    steps = []
    for name, value in sorted(state.settings.items()):
        before, text = written.get(name), setting_text(value)
        after = parse_setting(name, text, name) if text else None
        if (parse_setting(name, before, name) if setting_text(before) else None) == after:
            continue

        async def work(runtime: Runtime, report: Report, name: str = name, text: str = text) -> bool:
            await runtime.set_setting(name, text)
            return True

        steps.append(Step([Change("setting", name, "value", _public(name, before), _public(name, value or None))], work))
    return steps


def _public(setting: str, value: Any) -> Any:
    """A password in an address is nobody's business."""
    return shown_address(value) if setting.endswith("_url") and isinstance(value, str) else value


async def _proton(runtime: Runtime, state: DeclaredState) -> list[Step]:
    here = {build.version for build in await runtime.proton.installed()}
    steps = []
    for version, family in wanted_versions(state):
        if await runtime.proton.name_of(version) in here:
            continue

        async def install(runtime: Runtime, report: Report, version: str = version, family: str | None = family) -> bool:
            await runtime.proton.install(version, family=family, report=report)
            return True

        steps.append(Step([Change("proton", version, "installed", False, True)], install))
    default = state.proton.default
    before = str(read_config_file(runtime.paths.config_file).get("default_proton", ""))
    if default and await runtime.proton.name_of(default) != (await runtime.proton.name_of(before) if before else ""):

        async def use(runtime: Runtime, report: Report) -> bool:
            await runtime.proton.use(default)
            return True

        steps.append(Step([Change("proton", default, "default", before or None, default)], use))
    return steps


async def _preferences(runtime: Runtime, state: DeclaredState) -> list[Step]:
    wished = state.preferences.model_dump(exclude_unset=True)
    known = await runtime.library.preferences() if wished else {}
    differing = {name: value for name, value in sorted(wished.items()) if known.get(name) != value}
    if not differing:
        return []

    async def work(runtime: Runtime, report: Report) -> bool:
        return await runtime.organising.decide_for_all(differing)

    return [Step([Change("preference", name, "value", known.get(name), value) for name, value in differing.items()], work)]


@dataclass(slots=True)
class _Games:
    """The games that a state speaks of, found in the library."""

    titles: dict[str, TitleRow] = field(default_factory=dict)
    """By what they are called in the state."""
    declared: dict[str, DeclaredGame] = field(default_factory=dict)

    @classmethod
    async def find(cls, runtime: Runtime, state: DeclaredState) -> _Games:
        games = cls(declared=state.games)
        missing = []
        for name in dict.fromkeys([*state.games, *state.splits, *(name for merge in state.merges for name in merge)]):
            try:
                games.titles[name] = await runtime.library.get_title(name)
            except GameNotFoundError:
                if not (name in state.games and state.games[name].loose and is_key(name)):
                    missing.append(name)
        if missing:
            told = ", ".join(repr(name) for name in missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise GameNotFoundError(f"not in this library: {told}", hint="integ sync, or correct the names", data={"games": missing[:100]})
        return games

    def arrange(self, state: DeclaredState) -> list[Step]:
        """The splits, and then the merges, that lead from how the titles are to how they are declared."""
        together: defaultdict[str, set[str]] = defaultdict(set)
        for merge in state.merges:
            for key in (joined := {key for name in merge for key in self._keys(name)}):
                together[key] |= joined
        at = {release.key: title.title_id for title in self.titles.values() for release in title.releases}
        steps = []
        for name in dict.fromkeys(state.splits):
            title = self.titles[name]
            key = name if any(release.key == name for release in title.releases) else ""
            if not key and len(title.releases) > 1:
                raise UsageError(f"splits: {name} is a title: name the release that leaves it", hint=f"integ show {title.title_id}")
            if key and {release.key for release in title.releases} - {key} - together[key]:
                steps.append(Step([Change("split", key, "title", title.title_id, None, title.title)], _split(key)))
                at[key] = f" {key}"  # some title of its own
        for merge in state.merges:
            keys = list(dict.fromkeys(key for name in merge for key in self._keys(name)))
            if len({at[key] for key in keys}) > 1:
                changes = [Change("merge", key, "title", at[key].strip(), at[keys[0]].strip()) for key in keys if at[key] != at[keys[0]]]
                steps.append(Step(changes, _merge(keys)))
                at |= dict.fromkeys(keys, at[keys[0]])
        return steps

    async def decide(self, runtime: Runtime) -> list[Step]:
        chosen = {key: version for version, keys in (await runtime.proton.choices()).items() for key in keys} if self.declared else {}
        loose = {each.key: each for each in await runtime.library.decided() if each.is_loose} if self.declared else {}
        said: dict[tuple[str, str], Any] = {}
        steps = []
        for name, game in self.declared.items():
            title = self.titles.get(name)
            for key in (keys := self._keys(name) if title is not None else [name]):
                for each, value in game.wishes.items():
                    about = title.title_id if title is not None and each in _OF_TITLES else key
                    if said.setdefault((about, each), value) != value:
                        raise UsageError(f"games.{name}: {each} is declared twice, in two ways", hint="integ apply --help")
                if title is not None:
                    now = await _facts(runtime, title, key, chosen.get(key))
                else:
                    now = {each: getattr(loose[name], each) for each in (*_OF_TITLES, *_OF_RELEASES)} if name in loose else {}
                wishes = await _differing(runtime, game, now, of_title=key == keys[0])
                if wishes:
                    shown = title.title if title is not None else game.title
                    changes = [Change("game", key, each, _plain(now.get(each)), value, shown) for each, value in wishes.items()]
                    steps.append(Step(changes, _wish(key, wishes, is_here=title is not None)))
            if game.options is not None:
                steps += await self._options(runtime, name, game.options, said)
        return steps

    async def _options(self, runtime: Runtime, name: str, declared: DeclaredOptions, said: dict[tuple[str, str], Any]) -> list[Step]:
        """What differs of how the releases behind *name* are started here; those of Steam's are Steam's to start."""
        title = self.titles.get(name)
        keys = [key for key in (self._keys(name) if title is not None else [name]) if not key.startswith("steam:")]
        if not keys:
            raise UsageError(f"games.{name}: Steam starts it, and has launch options of its own", hint="leave its options out")
        steps = []
        for key in keys:
            if said.setdefault((key, "options"), declared) != declared:
                raise UsageError(f"games.{name}: options are declared twice, in two ways", hint="integ apply --help")
            kept = await asyncio.to_thread(runtime.launcher.options, key)
            new = merged(kept, declared.model_dump(exclude_unset=True))
            shown = title.title if title is not None else self.declared[name].title
            changes = [
                Change("game", key, f"options.{each}", told(before) or None, told(after) or None, shown)
                for each, before, after in zip(kept._fields, kept, new, strict=True)
                if before != after
            ]
            if changes:
                steps.append(Step(changes, _start_with(key, new)))
        return steps

    def _keys(self, name: str) -> list[str]:
        """The release that *name* is the key of, else all of the title's."""
        keys = [release.key for release in self.titles[name].releases]
        return [name] if name in keys else keys


async def _facts(runtime: Runtime, title: TitleRow, key: str, proton: str | None) -> dict[str, Any]:
    """What is so of *title* and of its release *key*, which is set to *proton*."""
    notes = (await runtime.library.details(title.title_id))["notes"]
    options = (await runtime.library.launch_wishes(key)).launch_options
    known = {"favourite": title.favourite, "hidden": title.hidden, "tags": title.tags, "notes": notes}
    return {**known, "proton": proton, "launch_options": options}


async def _differing(runtime: Runtime, game: DeclaredGame, now: Mapping[str, Any], *, of_title: bool) -> dict[str, Any]:
    """What is declared of a release, and with *of_title* of its title, and is not so *now*."""
    wishes = {}
    for name, value in sorted(game.wishes.items()):
        before = now.get(name)
        if name == "proton":
            differs = value != before and (value is None or await runtime.proton.name_of(value) != before)
        else:
            differs = (of_title or name not in _OF_TITLES) and _same(name, value) != _same(name, before)
        if differs:
            wishes[name] = value
    return wishes


def _same(name: str, value: Any) -> Any:
    """*value* such that two which mean the same are equal."""
    if name == "tags":
        return sorted({tag.casefold() for tag in value or ()})
    return (value or "") if name in {"notes", "launch_options"} else bool(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _split(key: str) -> Work:
    async def work(runtime: Runtime, report: Report) -> bool:
        return await runtime.organising.split(key)

    return work


def _merge(keys: Sequence[str]) -> Work:
    async def work(runtime: Runtime, report: Report) -> bool:
        return await runtime.organising.merge_games(keys)

    return work


def _start_with(key: str, options: GameOptions) -> Work:
    async def work(runtime: Runtime, report: Report) -> bool:
        await asyncio.to_thread(runtime.launcher.keep_options, key, options)
        return True

    return work


def _wish(key: str, wishes: Mapping[str, Any], *, is_here: bool) -> Work:
    async def work(runtime: Runtime, report: Report) -> bool:
        others = {name: value for name, value in wishes.items() if name != "proton" or not is_here}
        sent = await runtime.organising.decide_releases([key], others) if others else True
        if "proton" in wishes and is_here:
            sent = not await runtime.proton.choose(key, wishes["proton"]) and sent
        return sent

    return work
