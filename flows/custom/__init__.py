"""Python of your own: flows of custom exports, and functions that `transform` names. docs/custom.md says how."""
