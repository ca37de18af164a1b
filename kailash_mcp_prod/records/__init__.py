"""The data layer: models, schemas, filters, and the stores that run them."""
