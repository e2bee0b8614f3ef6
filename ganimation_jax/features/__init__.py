"""Pretrained networks that look at images, for evaluation: nothing here is trained."""
