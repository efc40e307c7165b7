"""The R4 definitions that ship with Assent (`r4.json.gz`) and the script that makes them; see SOURCE.md."""
