"""What the code sets that come with Assent are made from."""
