"""`/token`, `/introspect`, `/revoke`: grants, and the tokens that hang on them."""
