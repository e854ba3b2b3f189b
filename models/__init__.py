"""JAX/Flax networks, losses, samplers and training loops; empty until the first learned recipe lands."""
