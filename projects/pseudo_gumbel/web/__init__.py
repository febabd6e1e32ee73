"""A page in the browser: mark a region and read what the model says of it, or name an object and see it found."""
