"""What features are good for, each task as Config + run -> rows."""
