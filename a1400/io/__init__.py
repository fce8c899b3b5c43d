"""Reading what people feed to models: pictures."""
