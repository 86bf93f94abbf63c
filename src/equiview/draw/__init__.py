"""Pictures of what features do, and what the interactive page holds."""
