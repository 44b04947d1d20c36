"""Writes the generated pages of docs/ and checks the built site. Not part of the product."""
