"""What of a resource may leave: the facts that rules look at, the masks, and the minimizer."""
