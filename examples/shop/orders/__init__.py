"""Orders, and the tasks that handle them."""
