"""From graded samples and rollouts to what is learned from and measured: pure functions, no JAX."""
