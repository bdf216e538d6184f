"""Pictures in, whatever they lie in: files, folders, arrays."""
