"""People: accounts, passwords, passkeys, identity providers, sessions."""
