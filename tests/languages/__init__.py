"""The languages of the pages: their catalogues, and who gets which."""
