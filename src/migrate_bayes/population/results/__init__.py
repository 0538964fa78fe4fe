"""What a fit says of stars and of itself: membership, leave-one-out, predictive, checks."""
