"""The night, the commands, and what a person sees."""
