"""Compiled numerics on plain arrays: no recipe, no file, no JAX."""
