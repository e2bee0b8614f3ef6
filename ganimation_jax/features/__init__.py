"""Pretrained image networks used for evaluation. None of them is trained here."""
