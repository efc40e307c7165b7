"""What letters say, in the reader's language.

A letter travels and is kept where nobody here can look after it. So it says that something happened, never what is
shared, about whom, or why; the rest stands behind a sign-in. INVARIANT: nothing in it was written by an app's
developer but the app's name, of which no mail program makes a link.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from authz.mail.notices import Kind
from portal.languages import Language

_LONGEST_NAME: Final = 100
_LINKS: Final = re.compile(r"(?<=\S)[.:/@\\](?=\S)")
"""What makes a link of a word: `evil.example`, `https://evil`, `me@evil`."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a letter is about."""

    kind: Kind
    app_name: str = ""
    own: bool = True
    """Whether it is about the reader's own record."""
    code: str = ""


@dataclass(frozen=True, slots=True)
class LetterText:
    """Subject and body: plain text, a paragraph on a line."""

    subject: str
    body: str


def letter_text(told: Told, site: str, language: Language) -> LetterText:
    """Put it in words. `site` is this server's public URL."""
    subject, happened = _in_words(told, language)
    paragraphs = [happened, *_what_to_do(told, site, language)]
    return LetterText(subject, "\n\n".join(paragraphs) + "\n")


def plain_name(name: str) -> str:
    """An app's name on one line, of which no mail program makes a link."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    words = " ".join(_LINKS.sub(" ", line).split())
    return words if len(words) <= _LONGEST_NAME else f"{words[: _LONGEST_NAME - 1]}…"


def _what_to_do(told: Told, site: str, language: Language) -> list[str]:
    say = language.gettext
    account, sharing = f"{site}/my/e-mail", f"{site}/my"
    match told.kind:
        case "confirm-address":
            once = say("The code counts once, for half an hour. Type it here:")
            return [told.code, once, account, say("If it wasn't you, do nothing: then this address isn't used.")]
        case "address-changed" | "address-removed":
            return [
                say("If it wasn't you, sign in, give your address again, and tell those who run this site."),
                account,
            ]
        case "passkey-added" | "passkey-removed" | "password-changed" | "sign-in-linked" | "sign-in-unlinked":
            return [say("If you know nothing of it, tell those who run this site at once:"), site]
        case "emergency":
            return [say("Sign in to see who it was, and why:"), sharing]
        case _:
            off = say("You get this because your account has this address. Such messages can be turned off:")
            return [say("Sign in to see what it is about:"), sharing, off, account]


def _in_words(told: Told, language: Language) -> tuple[str, str]:
    """Subject and first sentence."""
    say = language.gettext
    match told.kind:
        case "consent-given" | "consent-changed" | "consent-ended" | "consent-asked" | "sharing-ends":
            return _of_sharing(told, language)
        case "emergency" if told.own:
            return say("Your record was opened in an emergency"), say(
                "Somebody who gives treatment opened your record in an emergency, without asking first."
            )
        case "emergency":
            return say("A record was opened in an emergency"), say(
                "Somebody who gives treatment opened the record of somebody you decide for, without asking first."
            )
        case _:
            return _of_account(told, language)


def _of_sharing(told: Told, language: Language) -> tuple[str, str]:
    say, app = language.gettext, {"app": plain_name(told.app_name) or language.gettext("an app")}
    changed = say("Something changed in your sharing")
    match told.kind, told.own:
        case "consent-asked", True:
            return say("You are asked for an answer"), say(
                "You are asked to share health information with %(app)s."
            ) % app
        case "consent-asked", False:
            asked = say("You are asked to share health information of somebody you decide for with %(app)s.")
            return say("You are asked for an answer"), asked % app
        case "consent-given", True:
            return changed, say("You share something with %(app)s now.") % app
        case "consent-given", False:
            return changed, say("Somebody you decide for shares something with %(app)s now.") % app
        case "consent-changed", True:
            return changed, say("Something changed in what you share with %(app)s.") % app
        case "consent-changed", False:
            return changed, say("Something changed in what somebody you decide for shares with %(app)s.") % app
        case "consent-ended", True:
            return changed, say("Your decision to share with %(app)s has ended.") % app
        case "consent-ended", False:
            return changed, say("A decision to share of somebody you decide for has ended: %(app)s.") % app
        case _, True:
            ends = say("What you share with %(app)s ends within a week. To go on, give it more time.")
            return say("Sharing ends soon"), ends % app
        case _:
            ends = say("What somebody you decide for shares with %(app)s ends within a week.")
            return say("Sharing ends soon"), ends % app


def _of_account(told: Told, language: Language) -> tuple[str, str]:
    say = language.gettext
    match told.kind:
        case "passkey-added":
            return say("A passkey was added"), say("A passkey was added to your account. It signs in as you.")
        case "passkey-removed":
            return say("A passkey was removed"), say("A passkey was removed from your account.")
        case "password-changed":
            return say("Your password was changed"), say("The password of your account was changed.")
        case "sign-in-linked":
            return say("A way to sign in was added"), say(
                "Your account was linked to an account elsewhere. Signing in there signs in as you."
            )
        case "sign-in-unlinked":
            return say("A way to sign in was removed"), say(
                "Your account is no longer linked to an account elsewhere. Signing in there no longer signs in as you."
            )
        case "address-changed":
            return say("Your e-mail address was changed"), say(
                "Messages about your account go to another address from now on. This is the last one to this address."
            )
        case "address-removed":
            return say("Your e-mail address was removed"), say(
                "This address was taken from your account. This is the last message to it."
            )
        case _:
            return say("Confirm your e-mail address"), say(
                "Somebody, probably you, gave this address for messages about their account. Its code is:"
            )
