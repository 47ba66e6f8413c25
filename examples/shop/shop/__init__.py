"""An example project: a shop whose orders are handled by tasks."""
