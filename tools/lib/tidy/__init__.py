"""The checks of tools/tidy: one file a subject, each with check(tree) that yields findings."""
