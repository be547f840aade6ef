"""A file becomes grey values, bone bright, with side and pixel spacing; or is refused."""
