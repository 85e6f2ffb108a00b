"""The pages of an evaluation: charts, templates, and the tables of the documentation."""
