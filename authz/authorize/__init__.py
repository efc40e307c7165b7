"""`/authorize` and what comes before it: requests pushed, signed or sent, and launches that an EHR began."""
