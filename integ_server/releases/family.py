"""What a family of Proton builds is, and what a name that a player types asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

_DIGITS = re.compile(r"(\d+)", re.ASCII)
Kind = Literal["proton", "wine"]
"""How a build is called: by its `proton` script, or as plain Wine, by its `bin/wine`; Steam and umu can start the first kind alone."""


class Family(NamedTuple):
    """One project that publishes Proton builds; another one is another module beside this, and an entry of `FAMILIES`."""

    slug: str
    title: str
    repository: str
    """On GitHub, `owner/name`. Names of versions are unique within it, not between projects."""
    asset_prefixes: tuple[str, ...]
    parse: Callable[[str], Wanted | None]
    """What a typed name asks for; None when it can't be a name of this family. Every tag of the family is such a name."""
    is_regular: Callable[[str], bool]
    """Whether a tag is an ordinary version, so that it may be taken as the newest."""
    order: Callable[[str], tuple[object, ...]]
    """The key that sorts tags from old to new."""
    kind: Kind = "proton"
    names_of: Callable[[str], tuple[str, ...]] = lambda tag: (tag,)
    """The builds of the release that its publisher tagged so, by the names that stand for tags here; they are unique among all families."""
    stem_of: Callable[[str, str], str | None] | None = None
    """What the archive of a tag for an architecture is called without its ending; None where its words have to tell."""
    variant_of: Callable[[str], str] = lambda tag: ""
    """Which of `variants` a tag is of; empty for the build that is meant when none is named."""
    variants: tuple[str, ...] = ()

    def owns(self, tag: str) -> bool:
        """Whether *tag* is a name of this family, so that no version of another one can be taken for it."""
        wanted = self.parse(tag)
        return wanted is not None and tag.casefold() in {each.casefold() for each in wanted.tags}


class Wanted(NamedTuple):
    """What a typed name asks for: one of `tags`, in that order, else the newest version whose name begins with `newest_of`."""

    family: Family
    tags: tuple[str, ...] = ()
    newest_of: str | None = None
    """Empty for the newest of all; None when only `tags` will do."""
    arch: str | None = None
    """Another machine's builds, or ones for a newer processor, when asked for."""
    variant: str = ""
    """Of the newest: which of the family's variants, when asked for."""

    def choose(self, published: Iterable[str]) -> str | None:
        """The tag among *published* that is meant; None when there is none."""
        known = {tag.casefold(): tag for tag in published}
        for tag in self.tags:
            if tag.casefold() in known:
                return known[tag.casefold()]
        if self.newest_of is None:
            return None
        begin = self.newest_of.casefold()
        fitting = [tag for tag in known.values() if tag.casefold().startswith(begin) and self.fits(tag)]
        return max(fitting, key=self.family.order, default=None)

    def fits(self, tag: str) -> bool:
        """Whether *tag* may be taken as the newest of what is asked for."""
        return self.family.is_regular(tag) and self.family.variant_of(tag) == self.variant


def natural_order(text: str) -> tuple[object, ...]:
    """A sort key by which `8-9` < `8-26` and `9-27` < `10-1`: runs of digits count as numbers."""
    parts = _DIGITS.split(text.casefold())
    return tuple((1, int(part), "") if part.isdigit() and part.isascii() else (0, 0, part) for part in parts if part)
