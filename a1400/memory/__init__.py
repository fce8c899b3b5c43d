"""Where a plan's data lives: views on storages, and the arena planner."""
