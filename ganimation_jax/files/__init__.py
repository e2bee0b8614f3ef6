"""Files as such: written whole, locked, read without trust, downloaded."""
