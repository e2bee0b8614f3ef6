"""GANimation in JAX: edit facial expression by anatomy."""
