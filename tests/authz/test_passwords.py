"""Whether there is an account of some name can't be told from how its password is checked."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from authz.sign_in.passwords import NO_PASSWORD, Passwords, hash_of_nothing


async def test_a_password_is_recognized_and_no_other_is() -> None:
    passwords = Passwords()
    stored = await passwords.hash("correct horse")
    assert await passwords.check("correct horse", stored) is True
    assert await passwords.check("correct horsf", stored) is False


@pytest.mark.parametrize("stored", [None, NO_PASSWORD, "no hash at all"])
async def test_who_has_no_password_signs_in_with_none(stored: str | None) -> None:
    assert await Passwords().check("", stored) is False


async def test_a_name_that_doesnt_exist_costs_as_much_as_one_that_does() -> None:
    nothing = hash_of_nothing()
    assert extract_parameters(nothing) == extract_parameters(await Passwords().hash("a password"))
    with pytest.raises(VerifyMismatchError):  # and not InvalidHashError, which comes without any work
        PasswordHasher().verify(nothing, "a password")
