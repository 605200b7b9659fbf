"""Who the persons are (seeds, demographic tables), what each shall have (plan), writing them, and reviewing them."""
