"""Board objects for real hardware; each module is imported by its name, where its chip is."""
