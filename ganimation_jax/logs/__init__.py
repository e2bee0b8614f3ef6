"""Where a run writes what it measures."""
