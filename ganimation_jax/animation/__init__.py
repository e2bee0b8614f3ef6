"""Give faces in photos and videos another expression, by a trained model."""
