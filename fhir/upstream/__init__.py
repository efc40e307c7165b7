"""The FHIR servers behind Assent: which one answers for what, how they are asked, and what is believed of them."""
