"""The evaluation's data sets: what can be fetched is fetched, what must be downloaded by hand is said and checked."""
