"""From a model to posterior draws: mode, NUTS, surrogate."""
