"""The stylesheet and the mark of the pages for people."""
