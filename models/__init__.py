"""JAX/Flax networks, losses, training loops; they know no file but weights."""
