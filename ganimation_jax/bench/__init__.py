"""Speed and memory of training, loading, inference and compilation on this machine."""
