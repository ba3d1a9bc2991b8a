"""The tests. A package, because some dependencies install one of the same name, which would hide it."""
