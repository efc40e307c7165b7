"""The texts of the pages in other languages than English, as gettext catalogues."""
