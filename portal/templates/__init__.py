"""Jinja templates of the pages for people; every word that a person reads stands here."""
