"""What a training step is composed of: losses, updates, optimizers, augmentation."""
