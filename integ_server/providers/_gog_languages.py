"""GOG's languages: one modern code, and the older codes and English names that its payloads use for it."""

from __future__ import annotations

from collections.abc import Iterable

DEFAULT = "en-US"
_ALL = {"*", "neutral"}
_ALIASES: dict[str, tuple[str, ...]] = {
    "en-US": ("en", "English"),
    "en-GB": ("en_GB", "English (UK)"),
    "de-DE": ("de", "German", "Deutsch"),
    "fr-FR": ("fr", "French"),
    "es-ES": ("es", "Spanish"),
    "es-MX": ("es_mx", "Latin American Spanish"),
    "it-IT": ("it", "Italian"),
    "pl-PL": ("pl", "Polish"),
    "ru-RU": ("ru", "Russian"),
    "pt-BR": ("br", "Brazilian-Portuguese", "Brazilian Portuguese"),
    "pt-PT": ("pt", "Portuguese"),
    "ja-JP": ("jp", "ja", "Japanese"),
    "ko-KR": ("ko", "Korean"),
    "zh-Hans": ("zh_Hans", "zh", "cn", "zh-CN", "Chinese", "Chinese (Simplified)"),
    "zh-Hant": ("zh_Hant", "zh-TW", "Chinese (Traditional)"),
    "cs-CZ": ("cz", "cs", "Czech"),
    "el-GR": ("gk", "el", "el-GK", "Greek"),
    "nb-NO": ("no", "nb", "Norwegian"),
    "sv-SE": ("sv", "Swedish"),
    "da-DK": ("da", "Danish"),
    "fi-FI": ("fi", "Finnish"),
    "nl-NL": ("nl", "Dutch"),
    "hu-HU": ("hu", "Hungarian"),
    "tr-TR": ("tr", "Turkish"),
    "uk-UA": ("uk", "Ukrainian"),
    "ro-RO": ("ro", "Romanian"),
    "bg-BG": ("bg", "bl", "Bulgarian"),
    "sr-SP": ("sb", "sr", "sr-RS", "Serbian"),
    "sk-SK": ("sk", "Slovak"),
    "ar": ("Arabic",),
    "he-IL": ("he", "Hebrew"),
    "th-TH": ("th", "Thai"),
    "vi-VN": ("vi", "Vietnamese"),
    "is-IS": ("is", "Icelandic"),
}
_CODES = {name.lower().replace("_", "-"): code for code, names in _ALIASES.items() for name in (code, *names)}


def language_code(name: str) -> str:
    """The modern code for a code, an older code or an English name; *name* itself when GOG's list does not have it."""
    text = name.strip()
    return _CODES.get(text.lower().replace("_", "-"), text)


def is_for_all(languages: Iterable[str]) -> bool:
    """Whether the part is for every language: no language named, or `*` or `Neutral` among them."""
    named = [each.lower() for each in languages]
    return not named or any(each in _ALL for each in named)


def codes_of(languages: Iterable[str]) -> set[str]:
    """The languages named, without those words that mean all."""
    return {language_code(each) for each in languages if each.lower() not in _ALL}


def choose_language(wanted: str | None, offered: set[str]) -> str:
    """The language to install: *wanted* when it is offered (or nothing is), else English, else the first that is."""
    code = language_code(wanted) if wanted else DEFAULT
    if not offered or code in offered:
        return code
    near = sorted(each for each in offered if each.partition("-")[0] == code.partition("-")[0])
    return near[0] if near else DEFAULT if DEFAULT in offered else min(offered)
