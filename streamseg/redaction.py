"""Removes passwords from text. Errors, logs and whatever goes to standard error pass through here."""

from __future__ import annotations

import re
from typing import Final

_SLASH: Final = r"(?:[/\\]|%2F)"
_COLON: Final = r"(?::|%3A)"
_AT: Final = r"(?:@|%40)"
_PASSWORD: Final = rf"(?![;:,]\s|{_COLON}{_SLASH}{{2}})."
"""A character of a password, which may be any; but no new part of a message and no other address begins there."""

_USER_IN_URL: Final = re.compile(
    rf"""
    ({_COLON}{_SLASH}+ | {_SLASH}{{2,}})              # scheme:// and the ways to mistype it
    (?: (?:(?!{_COLON}|{_AT})\S)* {_COLON} (?:{_PASSWORD})* {_AT}    # user:password@
      | (?:(?!{_SLASH}|{_AT})[^\s?\#'"])+ {_AT} )     # user@
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_USER_WITHOUT_SLASHES: Final = re.compile(
    rf"""(?<![^\s'"=(\[{{,<>/\\]) [^\s'"=@/\\:%]* {_COLON} (?!{_SLASH}|\s) \S* {_AT}""", re.IGNORECASE | re.VERBOSE
)
_PARAMETER: Final = re.compile(
    r"""((?:pass(?:word|wd|phrase|code)?|pwd|token|secret|auth|credentials?|signature|(?:api|access)_?key)=)[^\s&;'"]+""",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Replace user names and passwords of addresses, and passwords in their parameters, by asterisks.

    It prefers to hide too much: a mistyped address is no URL, and a password may hold any character.

    Example:
        >>> redact("rtsp://user:secret@camera/1?token=abc refused the connection")
        'rtsp://***@camera/1?token=*** refused the connection'
    """
    if "=" in text:
        text = _PARAMETER.sub(r"\1***", text)
    if "@" in text or "%40" in text:
        text = _USER_IN_URL.sub(r"\1***@", text)
        text = _USER_WITHOUT_SLASHES.sub("***@", text)
    return text
