"""Tables, charts and pages, from files on disk alone."""
