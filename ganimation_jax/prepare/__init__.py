"""From photo collections to a dataset: ``ganimation prepare``."""
