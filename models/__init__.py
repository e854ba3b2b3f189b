"""JAX/Flax networks, losses, samplers, training loops; empty until the first learned recipe."""
